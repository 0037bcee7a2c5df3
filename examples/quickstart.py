"""Which pretrained model for my few labels? The same as `python -m pretrain_eval`.

The job is written with the public interface alone; read it in
`pretrain_eval/__main__.py` and `pretrain_eval/demo`, and change it into yours.
"""

import sys

from pretrain_eval.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
