"""The models, each behind the same few verbs: fit, predict, export."""
