"""Frees an ONNX model from the picture size it was saved with, without the ``onnx`` package.

CenterFace's file declares its input as [10, 3, 32, 32] and lists its weights among the inputs; onnxruntime takes the
first literally and the second as a reason not to fold constants. Both stand in a few fields of ``GraphProto``, so the
file is rewritten on the level of the Protocol Buffers wire format; everything else is copied byte by byte.

Source: onnx.proto3 (ModelProto, GraphProto, ValueInfoProto, TypeProto, TensorShapeProto); protobuf.dev, "Encoding".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

# Field numbers of onnx.proto3.
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 5, 11, 12
_TENSOR_NAME, _VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIM = 8, 1, 2, 1, 2, 1
_DIM_PARAM = 2

_CHANNELS_AXIS = 1
"""Of a picture's four axes (batch, channels, height, width) the one whose size is kept."""


def with_free_sizes(model: bytes) -> bytes:
    """The same model for any batch, height and width.

    Raises:
        ValueError: These bytes are not an ONNX model.
    """
    if not any(number == _MODEL_GRAPH for number, _, _ in _fields(model)):
        raise ValueError("not an ONNX model")
    return _rewrite(model, _MODEL_GRAPH, _free_graph)


def _free_graph(graph: bytes) -> bytes:
    fields = list(_fields(graph))
    weights = {_name(value, _TENSOR_NAME) for number, value, _ in fields if number == _GRAPH_INITIALIZER}
    out = bytearray()
    for number, value, raw in fields:
        if number == _GRAPH_INPUT and _name(value, _VALUE_NAME) in weights:
            continue
        out += _field(number, _free_value(value)) if number in (_GRAPH_INPUT, _GRAPH_OUTPUT) else raw
    return bytes(out)


def _free_value(value: bytes) -> bytes:
    name = _name(value, _VALUE_NAME)

    def free_shape(shape: bytes) -> bytes:
        out = bytearray()
        axis = 0
        for number, _, raw in _fields(shape):
            free = number == _SHAPE_DIM and axis != _CHANNELS_AXIS
            out += _field(number, _field(_DIM_PARAM, name + b"_%d" % axis)) if free else raw
            axis += number == _SHAPE_DIM
        return bytes(out)

    def free_tensor(tensor: bytes) -> bytes:
        return _rewrite(tensor, _TENSOR_SHAPE, free_shape)

    return _rewrite(value, _VALUE_TYPE, lambda kind: _rewrite(kind, _TYPE_TENSOR, free_tensor))


def _name(message: bytes, field: int) -> bytes:
    return next((value for number, value, _ in _fields(message) if number == field), b"")


def _rewrite(message: bytes, field: int, change: Callable[[bytes], bytes]) -> bytes:
    return b"".join(_field(n, change(value)) if n == field else raw for n, value, raw in _fields(message))


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, payload (of length-delimited fields, else empty) and raw bytes of each field, in order."""
    at = 0
    while at < len(message):
        start = at
        key, at = _read_varint(message, at)
        value = b""
        match key & 7:
            case 0:
                _, at = _read_varint(message, at)
            case 1:
                at += 8
            case 2:
                size, at = _read_varint(message, at)
                value = message[at : at + size]
                at += size
            case 5:
                at += 4
            case _:
                raise ValueError("not an ONNX model")
        if at > len(message):
            raise ValueError("the ONNX model is cut short")
        yield key >> 3, value, message[start:at]


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while shift < 70:
        if at >= len(message):
            raise ValueError("the ONNX model is cut short")
        byte = message[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
        shift += 7
    raise ValueError("not an ONNX model")


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
