"""Which known architecture a state dict belongs to, from its tensors' names and shapes.

parts     the layers of a state dict, by kind and in order
plain     MLPs, plain CNNs and VGGs: layers matched by kind and order, whatever they are called
residual  CIFAR ResNets, small residual nets and torchvision's, under their common public names
fit       the proof: the architecture is built without numbers and every tensor compared
"""

from merging.zoo.checkpoints.recognise.fit import Recognised, fit, recognise

__all__ = ["Recognised", "fit", "recognise"]
