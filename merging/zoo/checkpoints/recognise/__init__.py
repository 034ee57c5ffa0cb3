"""Which known networks a state dict may belong to, from its tensors' names and shapes.

variants  the ways to read the names: prefixes taken off, foreign tensors left aside
parts     the layers of a state dict, by kind and in order;  order: of layers, where shapes or names tell it
chain     MLPs, plain CNNs, VGGs and residual nets, whatever their layers are called
residual  CIFAR ResNets, small residual nets and torchvision's, under their common public names
fit       the proof: the architecture is built without numbers and every tensor compared
"""
