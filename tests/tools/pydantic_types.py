"""Types whose schemas Pydantic writes: what agent frameworks hand on for tools and answers."""
import datetime
import decimal
import enum
import ipaddress
import pathlib
import re
import uuid
from typing import Annotated, Any, Literal, Optional, Union

import pydantic
from pydantic import Field
from typing_extensions import TypedDict


class Mixed(enum.Enum):
    number = 1
    word = "two"
    nothing = None


class Numbers(enum.IntEnum):
    one = 1
    two = 2


class Tree(pydantic.BaseModel):
    value: int
    left: Optional["Tree"] = None
    children: list["Tree"] = []


class Partial(TypedDict, total=False):
    a: int
    b: str


class WithExamples(pydantic.BaseModel):
    a: int = Field(examples=[1, 2], json_schema_extra={"x-order": 1, "example": 3})


class WithDeprecated(pydantic.BaseModel):
    a: int = Field(deprecated=True)
    b: str = Field(default="b", deprecated="use a")


TYPES = {
    "int": int, "float": float, "str": str, "bool": bool, "None": None, "Decimal": decimal.Decimal,
    "date": datetime.date, "datetime": datetime.datetime, "time": datetime.time, "timedelta": datetime.timedelta,
    "UUID": uuid.UUID, "IPv4Address": ipaddress.IPv4Address, "IPv6Address": ipaddress.IPv6Address,
    "Path": pathlib.Path, "bytes": bytes,
    "list[int]": list[int], "set[int]": set[int], "frozenset[str]": frozenset[str],
    "tuple[int, str]": tuple[int, str], "tuple[int, ...]": tuple[int, ...],
    "dict[str, int]": dict[str, int], "dict[int, str]": dict[int, str], "dict[UUID, int]": dict[uuid.UUID, int],
    "dict[date, int]": dict[datetime.date, int], "dict[Literal, int]": dict[Literal["a", "b"], int],
    "dict[IntEnum, int]": dict[Numbers, int],
    "Any": Any, "object": object, "Enum": Mixed, "IntEnum": Numbers, "Literal": Literal[1, "a", None, True],
    "Optional[int]": Optional[int], "Union": Union[int, str, list[int]], "recursive model": Tree, "TypedDict": Partial,
    "AnyUrl": pydantic.AnyUrl, "HttpUrl": pydantic.HttpUrl,
    "conint(ge, le)": pydantic.conint(ge=0, le=10), "conint(multiple_of)": pydantic.conint(multiple_of=5),
    "confloat(gt, lt)": pydantic.confloat(gt=0, lt=1), "PositiveInt": pydantic.PositiveInt,
    "NonNegativeFloat": pydantic.NonNegativeFloat,
    "constr(pattern)": pydantic.constr(pattern="^[a-z]+$"),
    "constr(pattern, max_length)": pydantic.constr(pattern="^[a-z]+$", max_length=5),
    "constr(min_length, max_length)": pydantic.constr(min_length=1, max_length=5),
    "conlist": pydantic.conlist(int, min_length=1, max_length=3), "conset": pydantic.conset(int, max_length=3),
    "SecretStr": pydantic.SecretStr, "Json": pydantic.Json, "PastDate": pydantic.PastDate,
    "AwareDatetime": pydantic.AwareDatetime, "ByteSize": pydantic.ByteSize, "StrictInt": pydantic.StrictInt,
    "Base64Str": pydantic.Base64Str, "UUID4": pydantic.UUID4,
    "condecimal": pydantic.condecimal(max_digits=5, decimal_places=2), "FilePath": pydantic.FilePath,
    "complex": complex, "re.Pattern": re.Pattern, "ImportString": pydantic.ImportString,
    "dict(min_length)": Annotated[dict[str, int], Field(min_length=1)],
    "dict(max_length)": Annotated[dict[str, int], Field(max_length=2)],
    "float(allow_inf_nan)": Annotated[float, Field(allow_inf_nan=True)],
    "examples": WithExamples, "deprecated": WithDeprecated,
}


def schema_of(kind):
    """An object whose one required property is of the type."""
    schema = pydantic.TypeAdapter(kind).json_schema()
    definitions = schema.pop("$defs", {})
    return {"type": "object", "properties": {"value": schema}, "required": ["value"], "additionalProperties": False,
            **({"$defs": definitions} if definitions else {})}
