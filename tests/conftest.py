"""What every test starts from: generators of its own, whichever test ran before it."""

import random
import zlib

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _generators_of_its_own(request):
    """Seed Python, NumPy and torch by the test's name, so that order decides nothing."""
    seed = zlib.crc32(request.node.nodeid.encode())
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
