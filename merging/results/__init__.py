"""Results: frozen values, and how they are saved and loaded. torch-free."""
