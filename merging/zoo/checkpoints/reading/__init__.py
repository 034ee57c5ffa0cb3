"""Read checkpoint files, which may be hostile: from bytes to checked tensors.

limits          bounds on a file (torch-free)
kinds           the kind of a file, by its first bytes (torch-free)
opening         opening of paths: ordinary files only
files           choice of the reader for a file
torch_file      torch.save files: check the zip directory, then torch.load(weights_only=True)
stored_archive  the zip directory of files that torch wrote
safetensors_io  safetensors files: check the header, then load the tensors; also writing
sliced          safetensors files read one tensor at a time
programs        exported programs (.pt2)
contents        the state dicts in a loaded file, and everything else in it
tensors         checks and conversion to dense tensors, the floating-point ones finite float32
"""
