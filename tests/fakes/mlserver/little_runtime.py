"""A runtime for MLServer that loads an array, and answers every question with it; runs in the server's own process."""

from __future__ import annotations

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import get_model_uri


class Little(MLModel):
    """One array in a file."""

    async def load(self) -> bool:
        self.weights = np.load(await get_model_uri(self.settings))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        del payload
        outputs = [NumpyCodec.encode_output("weights", self.weights)]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
