"""Requests of jobs: frozen, validated dataclasses, one file per kind. torch-free."""
