import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

import pretrain_eval

project = "pretrain_eval"
author = copyright = "the pretrain_eval authors"
release = version = pretrain_eval.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "formulas",
    "names",
]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "cache"  # what has not changed is not run again
nb_execution_cache_path = str(Path(__file__).parent / "_build" / ".jupyter_cache")
nb_execution_in_temp = True  # stores and pictures of a page do not stay
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds a cell; a busy machine takes ten times as long
html_theme = "furo"
html_title = "pretrain_eval"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_math_renderer = "mathml"
default_role = "code"  # of docstrings; names among them become links
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_mock_imports = ["ignite", "lightning", "transformers"]
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
exclude_patterns = ["_build", "jupyter_execute"]
napoleon_use_ivar = True  # attributes stand once, in the class description

# Every public name must be found. Those of other libraries would need their inventories
# from the network, on which a build must not depend, and what is private is named where
# an annotation that stands for several types is written out.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!pretrain_eval\.[^_]).*")]
