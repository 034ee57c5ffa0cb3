"""The Lab: lessons alone or in a class."""
