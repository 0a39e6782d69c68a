"""Print, as JSON, where a fairseq-hydra-train YAML differs from a fairseq-train command line.

usage: hydra_settings.py YAML ARGUMENT...   (the arguments of fairseq-train)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from fairseq import options, utils
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf

GROUPS = {"arch": "model", "task": "task", "criterion": "criterion"}
GROUPS |= {"optimizer": "optimizer", "lr_scheduler": "lr_scheduler"}


def leaves(tree: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield group, key and value of each setting."""
    for group, settings in tree.items():
        for key, value in settings.items():
            yield group, key, value


def main(file: str, arguments: list[str]) -> None:
    """Compare both ways: what the YAML says, and that it says all that the command line does."""
    yaml: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=True)
    del yaml["hydra"]
    parser = options.get_training_parser()
    utils.import_user_module(parser.parse_known_args(arguments)[0])
    cfg = convert_namespace_to_omegaconf(
        options.parse_args_and_arch(options.get_training_parser(), arguments)
    )
    different = []
    for group, key, value in leaves(yaml):
        seen = getattr(getattr(cfg, group), key)
        seen = OmegaConf.to_container(seen) if OmegaConf.is_config(seen) else seen
        if seen != value:
            different.append([group, key, value, seen])
    flags = [arg[2:].replace("-", "_") for arg in arguments if arg.startswith("--")]
    given = {key for _, key, _ in leaves(yaml)} | {"data"}
    given |= {flag for flag, group in GROUPS.items() if "_name" in yaml[group]}
    missing = sorted(flag for flag in flags if flag not in given)
    print(json.dumps({"different": different, "missing": missing}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
