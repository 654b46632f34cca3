"""TFRecords and their Examples, written by tensorboard's record writer and Google's protocol buffers: neither is ours."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorboard.summary.writer.record_writer import RecordWriter

FIELD = descriptor_pb2.FieldDescriptorProto
Values = Sequence[bytes] | Sequence[int] | Sequence[float]


@cache
def example_class(packed: bool):
    """TensorFlow's Example (feature.proto, example.proto), its numbers packed or each in a field of its own."""
    file = descriptor_pb2.FileDescriptorProto(name=f"x{packed}.proto", package=f"x{packed}", syntax="proto3")
    kinds = (("BytesList", FIELD.TYPE_BYTES), ("FloatList", FIELD.TYPE_FLOAT), ("Int64List", FIELD.TYPE_INT64))
    for name, kind in kinds:
        field = file.message_type.add(name=name).field.add(name="value", number=1, type=kind)
        field.label = FIELD.LABEL_REPEATED
        if kind != FIELD.TYPE_BYTES:
            field.options.packed = packed
    feature = file.message_type.add(name="Feature")
    for n, (name, _) in enumerate(kinds, 1):
        feature.field.add(name=name, number=n, type=FIELD.TYPE_MESSAGE, type_name=name, label=FIELD.LABEL_OPTIONAL)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=FIELD.TYPE_STRING, label=FIELD.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=FIELD.TYPE_MESSAGE, type_name="Feature", label=FIELD.LABEL_OPTIONAL)
    features.field.add(
        name="feature",
        number=1,
        type=FIELD.TYPE_MESSAGE,
        type_name="Features.FeatureEntry",
        label=FIELD.LABEL_REPEATED,
    )
    example = file.message_type.add(name="Example")
    example.field.add(
        name="features", number=1, type=FIELD.TYPE_MESSAGE, type_name="Features", label=FIELD.LABEL_OPTIONAL
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"x{packed}.Example"))


def example(features: Mapping[str, Values], packed: bool = True) -> bytes:
    """An Example with these features, serialized."""
    message = example_class(packed)()
    for name, values in features.items():
        kinds = {bytes: "BytesList", float: "FloatList", int: "Int64List"}
        kind = kinds[type(values[0])] if values else "Int64List"
        getattr(message.features.feature[name], kind).value.extend(values)
    return message.SerializeToString()


def write_records(path: Path, *records: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for record in records:
            writer.write(record)
    return path
