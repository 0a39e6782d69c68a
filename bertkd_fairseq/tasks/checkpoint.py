"""A fairseq checkpoint, loaded safely, and its task."""

from __future__ import annotations

from typing import Any

from bertkd_fairseq.process.user_errors import as_user_error


def load_checkpoint(path: str, data_bin: str, **overrides: Any) -> tuple[Any, Any]:
    """Return the model in ``path`` and its task, set up on ``data_bin`` and with ``overrides`` of its settings.

    :raises BertKDError: if the file can't be loaded or is refused.
    """
    # Importing the tasks applies compat and registers every part of the plugin.
    from fairseq import checkpoint_utils

    import bertkd_fairseq.tasks  # noqa: F401

    try:
        models, _, task = checkpoint_utils.load_model_ensemble_and_task(
            [path], arg_overrides={"data": data_bin, **overrides}
        )
    except Exception as error:
        found = as_user_error(error)
        if found is None:
            raise
        raise found from error
    return models[0], task
