"""Which pretrained model for my few labels? The same as `pretrain-eval demo`.

The job is written with the public interface alone; read it in
`pretrain_eval/demo`, and change it into yours.
"""

import sys

from pretrain_eval.demo.job import main

if __name__ == "__main__":
    sys.exit(main())
