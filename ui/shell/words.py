"""Glossary: the meaning of every technical term in one or two sentences, the same on all pages."""

from __future__ import annotations

WORDS: dict[str, str] = {
    "A and B": "The two trained networks that are merged. A keeps the order of its units; B is re-ordered to match A.",
    "unit": "One neuron of a layer, or one channel of a convolution.",
    "π(B)": (
        "B with its units re-ordered to match A; it computes the same function as B. Methods that mix units, such as "
        "CCA Merge and ZipIt!, map them instead, which changes the function."
    ),
    "permutation": (
        "A re-ordering of a layer's units. If all layers are re-ordered consistently, the network's outputs do not "
        "change."
    ),
    "naive average": "The average of A's and B's weights at equal positions, without re-ordering B first.",
    "aligned average": "The average of A's weights and those of the re-ordered B, without a correction.",
    "merge": (
        "The final network: B is re-ordered, its weights are combined with A's, and the result is corrected if a "
        "correction was chosen."
    ),
    "λ (lambda)": "Position on the path from A (λ = 0) to B (λ = 1). For averages, the weights are (1 − λ) A + λ B.",
    "linear mode connectivity": (
        "Two networks are linearly connected if the loss stays low on the whole straight line between their weights."
    ),
    "barrier": (
        "How far, at the worst point of the path from A to B, the loss lies above a reference, or the accuracy below "
        "it. The reference is the mean of the two values at the endpoints, or the linear interpolation between "
        "the two values."
    ),
    "barrier above the mean": (
        "The largest rise of the loss above the mean of A's and B's losses (Ainsworth et al. 2023)."
    ),
    "barrier above the straight line": (
        "The largest rise of the loss above the linear interpolation between A's loss and B's loss (Entezari et al. "
        "2022)."
    ),
    "loss": (
        "Mean cross-entropy per image in nats: the negative logarithm of the probability that the network gives to "
        "the right class. Lower is better."
    ),
    "accuracy": "The share of images that the network assigns to the right class.",
    "calibration error": (
        "The mean difference between the network's confidence and its accuracy over 15 bins of confidence (ECE). "
        "Lower is better."
    ),
    "ensemble": (
        "The mean of A's and B's predicted probabilities. It needs twice the computation of one network and is a "
        "reference for what a merge could reach."
    ),
    "align": "The method that re-orders B's units before the weights are combined.",
    "combine": "The method that makes the weights of one network from the weights of A and of the re-ordered B.",
    "correct": (
        "The method that repairs the combined network, for example by restoring the variance of its activations."
    ),
    "recipe": "A published combination of methods: one each for align, combine and correct.",
    "|B − π(B)|": (
        "The largest difference between the outputs of B and of its re-ordered version, relative to the largest "
        "output, computed in float64. It must be close to 0."
    ),
    "CKA": (
        "Centred kernel alignment: the similarity of two layers' representations of the same images, from 0 "
        "(unrelated) to 1 (equal up to rotation and scale)."
    ),
    "debiased": (
        "An estimator of CKA whose expected value is 0 for unrelated layers, so that single values can be negative."
    ),
    "pooled": "A convolution's activations were averaged over positions before the layers were compared.",
    "match correlation": (
        "The correlation, over all images, between the responses of A's unit and of its partner in B: 1 if they "
        "respond alike, 0 for unrelated units."
    ),
    "dead unit": "A unit that responds to no image of the data set.",
    "scale": (
        "The standard deviation of the unit's activations in the merge, divided by the mean of its standard deviations "
        "in A and π(B). "
        "Below 1, the activations shrank."
    ),
    "picture of a unit": "An image that was optimised from noise so that the unit responds as strongly as possible.",
    "response": (
        "How strongly a unit responds to a picture, after the nonlinearity and at the strongest position: 0 as to the "
        "average image of the data set, 1 as to its strongest image. A warning marks responses below 1."
    ),
    "ten images": (
        "Ten test images: of each class the first one that both A and B classify right, then further ones. The "
        "percentage is the probability that the network gives to the class that it names."
    ),
    "ablation": (
        "A unit is removed by setting its response to its mean over all images. What the network loses then is what "
        "the unit's differences between images are worth to it (Morcos et al. 2018)."
    ),
    "exemplars": "The images of the data set to which the unit responds most.",
    "B, old slot": (
        'B\'s unit at this position before re-ordering, also labelled "B, old position". The naive average '
        "combines it with A's unit."
    ),
    "variance collapse": (
        "Averaged weights give activations with a smaller variance than the parents' activations, and the variance "
        "shrinks further from layer to layer (Jordan et al. 2023)."
    ),
    "share of the barrier": (
        "The part of the barrier that a layer causes, in nats. The layers are averaged one after another; a layer's "
        "share is the rise of the loss when its turn comes, averaged over random orders (Shapley value). Shares "
        "sum to the barrier."
    ),
    "alignment of singular vectors": (
        "How closely the singular vectors of two weight matrices agree in direction, weighted by singular values: 1 if "
        "the matrices are equal up to scale, about 0 if they are unrelated (Ito et al. 2025)."
    ),
    "leverage": "The squared norm of one image's representation, as a share of the sum over all images.",
    "permutation null": "The value of CKA after shuffling the images of one layer: the level reached by chance.",
    "mutual nearest neighbours": (
        "The mean share of an image's ten nearest neighbours in one layer that are also among its ten nearest "
        "neighbours in the other layer."
    ),
    "cross-activation": (
        "The response of one network's unit to a picture made for another network's unit: 0 means as strong as the "
        "mean over all images, 1 as strong as for its strongest image."
    ),
    "seed noise": "The difference between two pictures of the same unit that were made from different random starts.",
    "further networks": (
        "More networks for the same merge, up to 32 in all. Each is aligned to A, or all are aligned together."
    ),
    "base network": (
        "The network from which the training of all experts started. The changes of their weights are merged into it."
    ),
    "nats": (
        "The unit of a cross-entropy loss with natural logarithms. A fair coin toss has an entropy of about 0.7 nats."
    ),
    "pp": "Percentage points: the difference between two values in percent.",
    "n": "The number of images on which a value was measured.",
    "BatchNorm": (
        "A layer that normalises each unit by a mean and variance stored during training. A merged network needs "
        "new values of both."
    ),
    "RBF CKA": "CKA with a kernel that gives near neighbours more weight than linear CKA does.",
    "Procrustes": (
        "How closely a rotation and a scale can map one layer's representations to another's: 1 is a perfect fit."
    ),
    "SVCCA": (
        "The mean canonical correlation between two layers' leading principal components, which explain 99 % of each "
        "layer's variance."
    ),
    "principal component": "The direction in which representations vary most.",
    "Shapley value": (
        "One part's contribution to a total: its mean effect over all orders in which the parts can be added."
    ),
    "cold and warm start": (
        "Along the path from A to B, every picture starts from the same noise (cold), or from the picture at the "
        "previous λ (warm)."
    ),
    "restart": "The matching is repeated with another order of layers, and the best result is kept.",
    "held-out images": "Training images that no method learned from. They are used to compare settings.",
    "seed": "The number that determines all random choices of a run or of training.",
    "seeds": "The number of seeds with which every method is run. The figure shows the spread over the seeds.",
    "epochs": "How often a training sees every training image.",
    "groups": (
        "Groups of networks that are trained with seeds of their own and merged within the group. The spread over the "
        "groups tells how much seeds matter."
    ),
    "first_group": (
        "The number of the first group, which sets the seeds of its networks: a sweep of groups 3 to 5 goes on where "
        "one of groups 0 to 2 ended."
    ),
    "networks": "The number of networks in a group, which are merged at once.",
    "common": (
        "Epochs of a training from which all networks of a group start, as experts that were fine-tuned from one base. "
        "With 0, each starts from random weights of its own."
    ),
    "points": "The number of values of λ, evenly spaced from A to B, at which the curves are measured.",
    "images": "The number of images per split (train and test) on which networks are measured.",
    "checkpoint": "A file with the weights of a trained network.",
    "worker": "A process that runs jobs on a CPU or a GPU.",
}

STATES: dict[str, str] = {
    "queued": "waiting",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}


def meaning(word: str) -> str:
    """The glossary text of a term in WORDS, for tooltips."""
    return WORDS[word]
