"""The candidates of a training run, one line each; see `trainer.candidates` for how to add one."""

from trainer.candidates import PictureCandidate, TextCandidate
from trainer.models.fusion import FusionCandidate, LogLinear, Stacking, WeightedMean
from trainer.models.fusion_network import FeatureNetwork
from trainer.models.picture_efficientnet import EfficientNetLite0
from trainer.models.picture_pair import XceptionAndEfficientNet
from trainer.models.picture_resnet import ResNet50
from trainer.models.picture_xception import XceptionFrozen, XceptionTuned
from trainer.models.text_ngrams import TextNgrams
from trainer.models.text_rnn import TextRnn
from trainer.models.text_sentence import TextSentence

TEXT: tuple[TextCandidate, ...] = (
    TextNgrams(),
    TextRnn(),
    TextSentence(),
)
PICTURES: tuple[PictureCandidate, ...] = (
    XceptionFrozen(),
    XceptionTuned(),
    EfficientNetLite0(),
    XceptionAndEfficientNet(),
    ResNet50(),
)
FUSION: tuple[FusionCandidate, ...] = (
    WeightedMean(),
    LogLinear(),
    Stacking(),
    FeatureNetwork(),
)
