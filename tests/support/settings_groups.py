"""Every group of settings that some process of Rayon reads."""

from types import ModuleType

import gateway.settings
import shared.settings
import trainer.monitoring.settings
import trainer.settings

_OWNERS: tuple[ModuleType, ...] = (
    shared.settings,
    gateway.settings,
    trainer.settings,
    trainer.monitoring.settings,
)


def settings_groups() -> set[type[shared.settings.Settings]]:
    """Return the settings classes of all modules that own some."""
    return {
        one
        for owner in _OWNERS
        for one in vars(owner).values()
        if isinstance(one, type) and issubclass(one, shared.settings.Settings)
    }
