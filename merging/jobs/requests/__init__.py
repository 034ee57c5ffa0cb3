"""What can be asked for: frozen, validated requests. torch-free."""
