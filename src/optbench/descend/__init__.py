from optbench.descend.batch import Batch, BatchResult
from optbench.descend.engine import descend
