"""Something to explore at once: the thesis's network on real digits, its recorded run, and its training as a function.

May import: anything of ours; only the command line and the user import it.
"""

from .images import DATASETS, OPTIMIZERS, SCHEDULES
from .network import LeNet
from .recorded import Demo, load_demo
from .training import DemoTraining, load_demo_training

__all__ = ["DATASETS", "OPTIMIZERS", "SCHEDULES", "Demo", "DemoTraining", "LeNet", "load_demo", "load_demo_training"]
