"""Checkpoint files are hostile input: everything between bytes and checked tensors.

limits          the bounds (torch-free)
kinds           what kind of file the first bytes say it is (torch-free)
torch_zip       torch.save files: the zip directory first, then torch.load(weights_only=True)
safetensors_io  safetensors files: the header first, then the tensors; and writing them
tensors         from whatever was loaded to dense, finite float32 tensors with sane names
"""
