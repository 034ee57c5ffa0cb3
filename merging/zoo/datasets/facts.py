"""Facts of the built-in data sets: shape, classes, channel statistics, licence, origin. No file is opened."""

from dataclasses import dataclass

_FASHION = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
_CIFAR_10 = "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"
_CIFAR_100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm
"""


@dataclass(frozen=True)
class DatasetFacts:
    """Facts of one data set.

    Attributes:
        label: display name.
        shape: (channels, height, width).
        classes: the names of the classes, by label.
        mean, std: one value per channel, over the training images scaled to [0, 1].
        train, test: the numbers of images in each complete split.
        folder: path of the files below torchvision's root; the id for users' own images.
        licence: licence of the images.
        source: publication or origin.
    """

    label: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: int
    test: int
    folder: str
    licence: str
    source: str


FACTS: dict[str, DatasetFacts] = {
    "fashion-mnist": DatasetFacts(
        label="Fashion-MNIST",
        shape=(1, 28, 28),
        classes=tuple(_FASHION.split(",")),
        mean=(0.2860,),
        std=(0.3530,),
        train=60_000,
        test=10_000,
        folder="FashionMNIST/raw",
        licence="MIT, Zalando SE 2017",
        source="Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747",
    ),
    "mnist": DatasetFacts(
        label="MNIST",
        shape=(1, 28, 28),
        classes=tuple("0123456789"),
        mean=(0.1307,),
        std=(0.3081,),
        train=60_000,
        test=10_000,
        folder="MNIST/raw",
        licence="CC BY-SA 3.0, LeCun, Cortes & Burges",
        source="LeCun et al. 1998, Proc. IEEE 86(11)",
    ),
    "cifar-10": DatasetFacts(
        label="CIFAR-10",
        shape=(3, 32, 32),
        classes=tuple(_CIFAR_10.split(",")),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        train=50_000,
        test=10_000,
        folder="cifar-10-batches-py",
        licence="no licence stated; free for research with citation",
        source="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
    ),
    "cifar-100": DatasetFacts(
        label="CIFAR-100",
        shape=(3, 32, 32),
        classes=tuple(_CIFAR_100.split()),
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        train=50_000,
        test=10_000,
        folder="cifar-100-python",
        licence="no licence stated; free for research with citation",
        source="Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
    ),
}
