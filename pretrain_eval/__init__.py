"""Which pretrained model should you use, what will it cost, how sure can you be?"""

from pretrain_eval._records import Cost, Run

__all__ = ["Cost", "Run"]
