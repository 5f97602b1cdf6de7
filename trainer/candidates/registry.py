"""Candidates of a training run; `trainer.candidates.protocols` explains how to add one."""

from trainer.candidates.fusion.network import FeatureNetwork
from trainer.candidates.fusion.pools import FusionCandidate, LogLinear, WeightedMean
from trainer.candidates.fusion.stacking import Stacking
from trainer.candidates.image.efficientnet import EfficientNetLite0
from trainer.candidates.image.finetuning import FINE_TUNED
from trainer.candidates.image.pair import XceptionAndEfficientNet
from trainer.candidates.image.resnet import ResNet50
from trainer.candidates.image.xception import XceptionFrozen, XceptionTuned
from trainer.candidates.protocols import ImageCandidate, TextCandidate
from trainer.candidates.text.ngrams import TextNgrams
from trainer.candidates.text.rnn import TextRnn
from trainer.candidates.text.sentence import TextSentence
from trainer.candidates.text.transformer import TextTransformer

TEXT: tuple[TextCandidate, ...] = (
    TextNgrams(),
    TextRnn(),
    TextSentence(),
    TextTransformer(),
)
#: Candidates that learn from a teacher too, where there is one.
STUDENTS: tuple[TextCandidate, ...] = (TextRnn(name="text_rnn_taught"),)
IMAGES: tuple[ImageCandidate, ...] = (
    XceptionFrozen(),
    XceptionTuned(),
    EfficientNetLite0(),
    XceptionAndEfficientNet(),
    ResNet50(),
)
#: Candidates of the full line-up that are tried only if they are named: they take hours.
ON_REQUEST_IMAGES: tuple[ImageCandidate, ...] = FINE_TUNED
FUSION: tuple[FusionCandidate, ...] = (
    WeightedMean(),
    LogLinear(),
    Stacking(),
    FeatureNetwork(),
)
#: Candidates of the quick line-up.
QUICK_TEXT: tuple[TextCandidate, ...] = (TextNgrams(),)
#: The first of these that can be tried, else the network of the champion.
QUICK_IMAGES: tuple[ImageCandidate, ...] = (EfficientNetLite0(),)
QUICK_FUSION: tuple[FusionCandidate, ...] = (WeightedMean(), LogLinear(), Stacking())
