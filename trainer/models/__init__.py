"""The candidates: every model that a training run tries. One file and one line each.

Imported on use, since TensorFlow takes seconds to load.
"""

from trainer.candidates import PictureCandidate, TextCandidate
from trainer.models.fusion import FeatureNetwork, FusionCandidate, LogLinear, Stacking, WeightedMean
from trainer.models.picture_efficientnet import EfficientNetLite0
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
    ResNet50(),
)
FUSION: tuple[FusionCandidate, ...] = (
    WeightedMean(),
    LogLinear(),
    Stacking(),
    FeatureNetwork(),
)
