"""The job: code as anybody writes it for Sedna, without a word of ours.

    python -m docs.examples.incremental.worker serve | train COUNT WRONG | evaluate

Uses Sedna's library if it is installed, and what stands in for it if not. Says a JSON line for each model it loads.
"""

from __future__ import annotations

import json
import sys
import time

from docs.examples.incremental.helmets import Estimator, things

try:
    from sedna.core.incremental_learning import IncrementalLearning  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    from docs.examples.incremental.library import IncrementalLearning

UNSEEN = 99  # seed of what is tested with


class Telling(Estimator):
    """Says what it loaded."""

    def load(self, model_url: str = "") -> None:
        """Raises ValueError for a file that is no model."""
        super().load(model_url)
        right = self.measured(things(4_000, UNSEEN))["precision"][0]
        print(json.dumps({"loaded": model_url, "precision": round(right, 3)}), flush=True)


def main() -> None:
    """One worker."""
    match sys.argv[1:]:
        case ["serve"]:
            job = IncrementalLearning(Telling())
            while True:
                job.inference(things(1, int(time.time()))[0])
                time.sleep(0.2)
        case ["train", count, wrong]:
            IncrementalLearning(Estimator()).train(things(int(count), seed=1, mislabelled=float(wrong)))
        case ["evaluate"]:
            IncrementalLearning(Estimator()).evaluate(things(4_000, UNSEEN))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
