"""A sentence-transformers model as an ONNX graph whose matrix products are in 8 bits."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from cascade_components.encoders.onnx_model import Converted

_OPSET = 17
_STEPS = 127
_WEIGHT_STEPS = 63
"""Seven bits: with eight, products overflow on processors without VNNI, and vectors would differ between machines."""


def convert(model: Any) -> Converted:
    """Convert a `SentenceTransformer`.

    Raises:
        RuntimeError: It cannot be exported.
    """
    import torch

    class Unit(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *columns: Any) -> Any:
            found = self.model(dict(zip(inputs, columns, strict=True)))["sentence_embedding"]
            return torch.nn.functional.normalize(found, dim=-1)

    example = dict(model.tokenizer(["a text", "a longer text than that"], padding=True, return_tensors="pt"))
    inputs = tuple(name for name in ("input_ids", "attention_mask", "token_type_ids") if name in example)
    axes = {name: {0: "texts", 1: "tokens"} for name in inputs} | {"vectors": {0: "texts"}}
    try:
        with tempfile.TemporaryDirectory() as folder, torch.no_grad(), warnings.catch_warnings():
            exported = Path(folder, "exported.onnx")
            warnings.simplefilter("ignore")  # of tracing: that it is traced, and by the older exporter
            torch.onnx.export(
                Unit().eval(),
                tuple(example[name] for name in inputs),
                exported,
                input_names=list(inputs),
                output_names=["vectors"],
                dynamic_axes=axes,
                opset_version=_OPSET,
                dynamo=False,
            )
            graph = quantised(exported.read_bytes())
    except Exception as error:  # whatever an exporter makes of a model that it does not know
        what, *_ = str(error).splitlines() or [""]
        msg = f"The model cannot be exported to ONNX ({type(error).__name__}: {what}); use backend='torch'."
        raise RuntimeError(msg) from error
    tokenizer = model.tokenizer.backend_tokenizer.to_str()
    return Converted(graph, tokenizer, int(model.max_seq_length or 512), inputs)


def quantised(graph: bytes) -> bytes:
    """The graph with 8-bit matrix products and embeddings.

    Weights have a scale for each column, embeddings for each row, and activations for each token, found as they come
    (LLM.int8(), arXiv 2208.07339, without its outliers). With a scale for a whole batch, as ONNX Runtime's own dynamic
    quantisation has it, a vector would depend on what else is encoded with it.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(graph)
    nodes, made = list(model.graph.node), _Nodes()
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in nodes:
        if node.op_type == "MatMul" and _is_matrix(weights.get(node.input[1])):
            made.product(node, weights[node.input[1]])
        elif node.op_type == "Gather" and _is_matrix(weights.get(node.input[0])):
            made.lookup(node, weights[node.input[0]])
        else:
            made.nodes.append(node)
    used = {name for node in made.nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(made.nodes)
    model.graph.initializer.extend([*kept, *made.tensors])
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    return bytes(model.SerializeToString())


def _is_matrix(array: Any) -> bool:
    return array is not None and array.ndim == 2 and array.dtype == np.float32


class _Nodes:
    """Collects the nodes and tensors of a graph while it is rewritten."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self._read: set[str] = set()
        self._step = self._tensor("8bit.step", np.float32(1 / _STEPS))
        self._zero = self._tensor("8bit.zero", np.uint8(128))
        self._least = self._tensor("8bit.least", np.float32(1e-9))

    def product(self, node: Any, weight: Any) -> None:
        """A matrix product, activation and weight both in 8 bits."""
        activation = node.input[0]
        read = f"{activation}.8bit"
        if activation not in self._read:  # query, key and value read the same one
            self._read.add(activation)
            self._node("Abs", [activation], f"{read}.abs")
            self._node("ReduceMax", [f"{read}.abs"], f"{read}.max", axes=[-1])
            self._node("Max", [f"{read}.max", self._least], f"{read}.scale")
            self._node("Div", [activation, f"{read}.scale"], f"{read}.unit")
            self._node("QuantizeLinear", [f"{read}.unit", self._step, self._zero], read)
        out = node.output[0]
        codes, scale = _codes(weight, axis=0, steps=_WEIGHT_STEPS)
        factors = [
            read,
            self._tensor(f"{out}.weight", codes),
            self._step,
            self._tensor(f"{out}.columns", scale),
            self._zero,
        ]
        self._node("MatMulIntegerToFloat", factors, f"{out}.unscaled", domain="com.microsoft")
        self._node("Mul", [f"{out}.unscaled", f"{read}.scale"], out)

    def lookup(self, node: Any, table: Any) -> None:
        """Rows of a table of embeddings."""
        out = node.output[0]
        codes, scale = _codes(table, axis=1, steps=_STEPS)
        self._node("Gather", [self._tensor(f"{out}.table", codes), node.input[1]], f"{out}.codes")
        self._node("Gather", [self._tensor(f"{out}.rows", scale[:, None]), node.input[1]], f"{out}.scale")
        self._node("Cast", [f"{out}.codes"], f"{out}.unscaled", to=1)
        self._node("Mul", [f"{out}.unscaled", f"{out}.scale"], out)

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))

    def _tensor(self, name: str, array: Any) -> str:
        from onnx import numpy_helper

        self.tensors.append(numpy_helper.from_array(np.asarray(array), name))
        return name


def _codes(matrix: Any, axis: int, steps: int) -> tuple[Any, Any]:
    """A matrix as signed bytes, and the factor of each column (axis 0) or row (axis 1)."""
    scale = np.maximum(np.abs(matrix).max(axis), 1e-9) / steps
    codes = np.round(matrix / np.expand_dims(scale, axis)).clip(-steps, steps)
    return codes.astype(np.int8), scale.astype(np.float32)
