"""Names of the steps of a training run for people."""

from collections.abc import Mapping

#: Steps that are not of a candidate model.
_STEPS: Mapping[str, str] = {
    "champion": "Fetch the serving release",
    "read": "Read the data",
    "export": "Write the release",
    "evaluate": "Measure the quality of the release",
    "reference": "Describe the data for drift detection",
    "package test": "Test the release in the environments of the workers",
    "register": "Register the release",
    "compare": "Compare the release with the serving one",
}
_ACTIONS: Mapping[str, str] = {
    "prepare": "Prepare",
    "fit": "Train",
    "predict": "Test",
    "measure": "Time",
}
_KINDS: Mapping[str, str] = {"text": "text model", "image": "image model", "fusion": "fusion model"}
_MODELS: Mapping[str, str] = {
    "ngrams": "n-grams",
    "rnn": "recurrent network",
    "sentence": "sentence encoder",
    "xception": "Xception",
    "xception tuned": "Xception, fine-tuned",
    "efficientnet lite0": "EfficientNet-Lite0",
    "pair": "Xception + EfficientNet-Lite0",
    "resnet50": "ResNet50",
    "champion": "serving network",
    "mean": "weighted mean",
    "network": "network on features",
}


def stage_name(step: str) -> str:
    """Return the name of a step for people.

    Example:
        `stage_name("image_xception fit")` is `Train image model: Xception`.
    """
    if step in _STEPS:
        return _STEPS[step]
    if step.startswith("images "):
        return "Check the images"
    candidate, _, action = step.rpartition(" ")
    kind, _, model = candidate.partition("_")
    if kind not in _KINDS or action not in _ACTIONS:
        return step.replace("_", " ").capitalize()
    model = model.replace("_", " ")
    return f"{_ACTIONS[action]} {_KINDS[kind]}: {_MODELS.get(model, model)}"
