"""What every technical word means, in one sentence, the same everywhere."""

from __future__ import annotations

WORDS: dict[str, str] = {
    "A and B": "The two trained networks that are merged; A keeps the order of its units, B is re-ordered to match it.",
    "unit": "One neuron of a layer, or one channel of a convolution.",
    "π(B)": "B with its units re-ordered to match A: it computes exactly what B computes.",
    "permutation": (
        "A re-ordering of a layer's units; done in all layers consistently, it leaves a network's outputs as they are."
    ),
    "naive average": "The average of A's and B's weights, unit by unit, without re-ordering B first.",
    "merge": (
        "The network one gets by re-ordering B, combining its weights with A's, and correcting the result if asked to."
    ),
    "λ (lambda)": "How far one has walked from A (0) to B (1): the weights are (1 − λ) A + λ B.",
    "linear mode connectivity": (
        "Two networks are linearly connected when the loss stays low all along the straight line between their weights."
    ),
    "barrier": (
        "How far the loss rises above its ends on the way from A to B (for accuracy: how far it falls below them)."
    ),
    "barrier above the mean": "The largest rise above the mean of A's and B's values (Ainsworth et al. 2023).",
    "barrier above the chord": "The largest rise above the straight line from A's value to B's (Entezari et al. 2022).",
    "loss": "Mean cross-entropy in nats an image: how surprised the network is by the right answer; lower is better.",
    "accuracy": "The share of images whose class the network names correctly.",
    "calibration error": (
        "How far the network's confidence is from its accuracy, on average over 15 bins of confidence (ECE); "
        "lower is better."
    ),
    "ensemble": (
        "The mean of A's and B's predicted probabilities: what both know together, at twice the cost; a "
        "ceiling for a merge."
    ),
    "align": "How B's units are re-ordered before the weights are combined.",
    "combine": "How the weights of A and of the re-ordered B become one network's.",
    "correct": "What is repaired in the combined network, such as activations that shrank.",
    "recipe": "A published method: one choice each of align, combine and correct.",
    "|B − π(B)|": (
        "The largest difference between the outputs of B and of its re-ordered version, relative to the "
        "outputs, in float64: it must be nearly 0."
    ),
    "CKA": (
        "Centred kernel alignment: how alike two layers see the same images, from 0 (unrelated) to 1 (alike "
        "up to rotation and scale)."
    ),
    "debiased": "The estimate of CKA that is 0 on average for unrelated layers, and so may fall below 0.",
    "pooled": "A convolution's activations were averaged over positions before layers were compared.",
    "match correlation": (
        "How equally A's unit and its partner in B respond over all images: 1 is the same unit, 0 unrelated."
    ),
    "dead unit": "A unit that gives no response on any image of the data set.",
    "scale": (
        "How widely the merge's unit varies, relative to the mean of A's and π(B)'s; below 1 its activations shrank."
    ),
    "picture of a unit": "An image made from noise so that the unit responds as strongly as possible.",
    "× best image": (
        "How strongly the unit responds to its made picture, relative to its strongest response to any image (mean "
        "over positions); a warning marks pictures that excite it less than an image does."
    ),
    "exemplars": "The images of the data set to which the unit responds most.",
    "B, old slot": "B's unit that stood at this place before re-ordering: what the naive average mixes with A's unit.",
    "variance collapse": (
        "Averaged weights give activations that vary less than the parents', layer after layer (Jordan et al. 2023)."
    ),
    "share of the barrier": (
        "How many nats of the barrier a layer causes: the mean rise of the loss when its weights, too, are averaged, "
        "over all orders in which layers could be (Shapley value); shares sum to the barrier."
    ),
    "alignment of singular vectors": (
        "How nearly two weights' singular vectors point the same way, weighted by their singular values: 1 where equal "
        "up to scale, about 0 for unrelated weights (Ito et al. 2025)."
    ),
    "leverage": "The share of all squared length of a layer's representations that one image has.",
    "permutation null": "What CKA gives when the images of one layer are shuffled: its level by chance.",
    "mutual nearest neighbours": (
        "The share of each image's ten nearest neighbours in one layer that are also its neighbours in the other."
    ),
    "cross-activation": (
        "How strongly one network's unit responds to a picture made for another's: 0 as to the average image, 1 as to "
        "its strongest."
    ),
    "seed noise": "How far apart two pictures of the same unit are that differ only in the random start.",
    "further networks": ("More networks for the same merge, up to ten; each is aligned to A, or all of them together."),
    "base network": "The network that all experts were trained from; what each has learned since is merged into it.",
    "nats": "The unit of a loss: natural logarithms, so that 0.7 nats are one coin's toss of surprise.",
    "pp": "Percentage points: the difference of two shares in percent.",
    "n": "How many images a figure was measured on.",
    "BatchNorm": (
        "A layer that scales each unit by its mean and spread, which it remembers from training; averaged networks "
        "need them anew."
    ),
    "RBF CKA": "CKA of a kernel that looks at near neighbours more than linear CKA does.",
    "Procrustes": "How near a rotation and a scale bring one layer's representations to another's: 1 is alike.",
    "SVCCA": "The mean correlation of two layers' main directions, those with 99 % of the variance.",
    "principal component": "The direction in which representations vary most.",
    "Shapley value": "A part's fair share of a whole: its mean effect over all orders in which parts could be added.",
    "cold and warm start": (
        "Along a film, every picture starts from the same noise (cold) or from where the one before it ended (warm)."
    ),
    "restart": "Matching begins anew in another order of layers; the best result is kept.",
    "held-out images": "Training images on which settings are judged and that nothing was learned from.",
    "seed": "The number that all random choices of a run or a training start from.",
    "seeds": "How many seeds every method is run with: the spread between them is drawn.",
    "points": "At how many λ, evenly spaced from A to B, the curves are measured.",
    "images": "How many images of each split (train and test) are measured.",
    "checkpoint": "A file with a trained network's weights.",
    "worker": "A process that runs jobs, on a CPU or a GPU.",
}

STATES: dict[str, str] = {
    "queued": "waiting",
    "running": "running",
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}


def meaning(word: str) -> str:
    """The one sentence about a word, for hovers. The word must be in WORDS."""
    return WORDS[word]
