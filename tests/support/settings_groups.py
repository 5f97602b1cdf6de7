"""All settings groups of all services."""

from types import ModuleType

import gateway.settings
import shared.settings
import trainer.monitoring.settings
import trainer.settings

_MODULES: tuple[ModuleType, ...] = (
    shared.settings,
    gateway.settings,
    trainer.settings,
    trainer.monitoring.settings,
)


def settings_groups() -> set[type[shared.settings.Settings]]:
    """Return the settings classes of all modules that define some."""
    return {
        group
        for module in _MODULES
        for group in vars(module).values()
        if isinstance(group, type) and issubclass(group, shared.settings.Settings)
    }
