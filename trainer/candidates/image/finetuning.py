"""An ImageNet network fine-tuned in all of its layers, in stages of growing resolution.

In the end the head of the frozen candidates is fitted on the features of whole images at the
resolution of serving: what a crop shows appears larger than it will (Touvron et al., "Fixing the
train-test resolution discrepancy", 2019). The model is served as a frozen one is, at the same cost.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from trainer.candidates.image.backbone import BACKBONE, place_backbone
from trainer.candidates.image.efficientnet import EfficientNetLite0
from trainer.candidates.image.head import (
    HEAD,
    FrozenBackbone,
    export_head,
    fit_head,
    predict_logits,
)
from trainer.candidates.image.precision import kept_precision
from trainer.candidates.image.stages import FineTuningSettings, Training, finished_epochs
from trainer.candidates.image.xception import XceptionFrozen
from trainer.candidates.onnx.graph import Graph
from trainer.candidates.protocols import FitContext, Floats, Images, Labels


@dataclass(frozen=True)
class FineTuned:
    """A frozen candidate's network, all of its layers fitted; see the module.

    Attributes:
        frozen: Candidate whose network and weights it starts from.
    """

    name: str
    frozen: FrozenBackbone
    settings: FineTuningSettings = field(default_factory=FineTuningSettings)
    #: A fit takes hours.
    refits: ClassVar[bool] = False

    @property
    def size(self) -> int:
        """Side of the images that are served, in pixels."""
        return self.frozen.size

    @property
    def network(self) -> str:
        """Name under which the features are stored."""
        return self.name

    def unavailable_reason(self, context: FitContext) -> str | None:
        """Return the reason if the file of weights is missing."""
        return self.frozen.unavailable_reason(context)

    def fit(self, images: Images, labels: Labels, folder: Path, context: FitContext) -> None:
        """Fine-tune all layers, and fit the head; an interrupted fit continues with its epoch."""
        if not (folder / BACKBONE).exists():
            backbone = self.frozen.build(self._weights(context))
            precision = kept_precision(backbone, folder, context.log_line)
            training = Training(
                self.name, backbone, labels.classes, self.settings, context, precision
            )
            training.run(images, labels, folder)
            backbone.set_weights(training.features.get_weights())
            place_backbone(self.name, backbone, self.size, folder / BACKBONE, images, context)
        features = images.features(self.network, folder / BACKBONE, self.size)
        fit_head(self.name, features, labels, self.settings.head, context).save(folder / HEAD)
        for _, path in finished_epochs(folder):
            path.unlink()

    def predict(self, images: Images, folder: Path) -> Floats:
        """Return logits, shape `(len(images), classes)`."""
        return predict_logits(folder, images.features(self.network, folder / BACKBONE, self.size))

    def export(self, graph: Graph, folder: Path) -> str:
        """Add the head to the graph."""
        return export_head(graph, folder)

    def _weights(self, context: FitContext) -> Path | None:
        return None if context.weights is None else context.weights / self.frozen.weights_file


#: Candidates that a training tries only if it is asked to: see decision 0052.
FINE_TUNED = (
    FineTuned("image_xception_all_layers", XceptionFrozen()),
    FineTuned("image_efficientnet_lite0_all_layers", EfficientNetLite0()),
)
