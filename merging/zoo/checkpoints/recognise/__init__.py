"""Recognise the known networks that a state dict may belong to, by its tensors' names and shapes.

variants  the variants of the names: without common prefixes, without tensors that are not the network's
parts     the layers of a state dict, by kind
order     the order of the layers, where shapes or names determine it
chain     MLPs, plain CNNs, VGGs and residual nets, with any layer names
residual  CIFAR ResNets, small residual nets and torchvision's ResNets, with their common public names
fit       the proof: build the architecture without values, and compare names and shapes of all tensors
"""
