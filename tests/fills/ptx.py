"""What a GPU would do with the code that Triton makes for it: the instructions of PTX that the fills use, by numpy.

All threads of all programs take each instruction together. A branch that they would not take together is an error, and
so is an instruction that is not known here, and a store outside of the tensor's memory.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

THREADS = 128  # of a program: four warps

_TYPES = {f"{kind}{8 * size}": np.dtype(f"{letter}{size}") for kind, letter in ("bu", "uu", "si") for size in (2, 4, 8)}
_TYPES |= {"f16": np.dtype("f2"), "f32": np.dtype("f4"), "f64": np.dtype("f8"), "pred": np.dtype(bool)}
_ARITHMETIC: dict[str, Callable[..., NDArray]] = {"add": np.add, "sub": np.subtract, "mul": np.multiply}
_ARITHMETIC |= {"min": np.minimum, "max": np.maximum, "rem": np.fmod}
_ARITHMETIC |= {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}
_COMPARISONS: dict[str, Callable[..., NDArray]] = {"eq": np.equal, "ne": np.not_equal, "lt": np.less}
_COMPARISONS |= {"le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}
_INSTRUCTION = re.compile(r"(?:@(!?)(%p\d+)\s+)?([a-z][\w.]*)\s*(.*);$")
_OPERAND = re.compile(r"\{[^}]*\}|\[[^\]]*\]|[^\s,][^,]*")


def run(ptx: str, tensor: Tensor, numbers: Sequence[int | float], programs: int) -> None:
    """Run a kernel whose first argument is a CPU tensor, and whose others are int64 and float32 numbers."""
    _Machine(tensor, numbers, programs).run(ptx)


class _Machine:
    """Each register's bits in all threads, and the tensor's memory."""

    def __init__(self, tensor: Tensor, numbers: Sequence[int | float], programs: int) -> None:
        storage = tensor.untyped_storage()
        self.base = storage.data_ptr()
        self.memory = torch.empty(0, dtype=torch.uint8).set_(storage).numpy()
        self.parameters = [np.uint64(tensor.data_ptr())]
        self.parameters += [
            np.float32(n).view("u4") if isinstance(n, float) else np.int64(n).view("u8") for n in numbers
        ]
        self.lanes = programs * THREADS
        self.registers: dict[str, NDArray] = {
            "%tid.x": np.tile(np.arange(THREADS, dtype=np.uint32), programs),
            "%ctaid.x": np.repeat(np.arange(programs, dtype=np.uint32), THREADS),
        }

    def run(self, ptx: str) -> None:
        body = ptx[ptx.index("\n{") : ptx.index("$L__func_end0")]
        lines = [line.split("//")[0].strip() for line in body.splitlines()]
        labels = {line[:-1]: number for number, line in enumerate(lines) if re.fullmatch(r"\$\w+:", line)}
        at = 0
        while True:
            line, at = lines[at], at + 1
            if not line or line[0] in "{.$":
                continue
            found = _INSTRUCTION.match(line)
            assert found, line
            negated, predicate, name, operands = found.groups()
            active = self.registers[predicate] ^ bool(negated) if predicate else np.ones(self.lanes, bool)
            if name == "ret":
                return
            if name.startswith("bra"):
                assert active.all() or not active.any(), "threads part"
                at = labels[operands] if active.all() else at
            else:
                with np.errstate(all="ignore"):
                    self.step(name.split("."), _OPERAND.findall(operands), active)

    def value(self, operand: str, kind: str) -> NDArray:
        """An operand's bits as a type: a register, or a number that stands in the code."""
        dtype = _TYPES[kind]
        if operand.startswith("%"):
            return self.registers[operand].view(dtype)
        is_hexadecimal = operand.startswith(("0f", "0d"))
        bits = int(operand[2:], 16) if is_hexadecimal else int(operand) % 2 ** (8 * dtype.itemsize)
        return np.full(self.lanes, bits, f"u{dtype.itemsize}").view(dtype)

    def step(self, name: list[str], operands: list[str], active: NDArray) -> None:
        operation, *how, kind = name
        if operation == "st":
            self.store(kind, *operands, active)
            return
        assert active.all(), ".".join(name)
        target, *sources = operands
        if operation == "ld":
            index = int(sources[0].strip("[] ").rpartition("_")[2])
            self.registers[target] = np.full(self.lanes, self.parameters[index])
        elif operation == "mov" and target.startswith("{"):
            whole, halves = self.value(sources[0], kind), target.strip("{} ").split(", ")
            for half, bits in zip(halves, whole.view(f"u{whole.itemsize // 2}").reshape(-1, 2).T, strict=True):
                self.registers[half] = bits.copy()
        else:
            result = self.converted(how, kind, sources) if operation == "cvt" else self.computed(name, sources)
            self.registers[target] = result if result.dtype == bool else result.view(f"u{result.itemsize}")

    def converted(self, how: list[str], kind: str, sources: list[str]) -> NDArray:
        assert how[:-1] in ([], ["rn"], ["rzi"]), how
        return self.value(sources[0], kind).astype(_TYPES[how[-1]])

    def computed(self, name: list[str], sources: list[str]) -> NDArray:
        operation, *how, kind = name
        values = [self.value(source, "pred" if source.startswith("%p") else kind) for source in sources]
        match operation, how:
            case "mov", []:
                return values[0]
            case "selp", []:
                return np.where(values[2], values[0], values[1])
            case "setp", [comparison]:
                return _COMPARISONS[comparison](*values)
            case (("shl" | "shr"), []):
                count = self.value(sources[1], "u32")
                assert (count < 8 * values[0].itemsize).all()
                return (np.left_shift if operation == "shl" else np.right_shift)(
                    values[0], count.astype(values[0].dtype)
                )
            case "shf", ["l", "wrap"]:
                low, high, count = values
                assert ((count > 0) & (count < 32)).all()
                return (high << count) | (low >> (32 - count))
            case "bfe", []:
                return (values[0] >> values[1]) & ((np.uint32(1) << values[2]) - np.uint32(1))
            case (("mul" | "mad"), ["wide"]):
                wide = f"{kind[0]}64"
                product = values[0].astype(_TYPES[wide]) * values[1].astype(_TYPES[wide])
                return product if operation == "mul" else product + self.value(sources[2], wide)
            case "mad", ["lo"]:
                return values[0] * values[1] + values[2]
            case "div", [] if kind[0] != "f":
                return (values[0] - np.fmod(*values)) // values[1]
            case (("div" | "sqrt"), ["rn"]):
                return np.divide(*values) if operation == "div" else np.sqrt(values[0])
            case _:
                # Of floats only the maximum, which is exact, need not say how it is rounded.
                assert how in ([["rn"]] if kind[0] == "f" and operation != "max" else [[], ["lo"]]), name
                return _ARITHMETIC[operation](*values)

    def store(self, kind: str, address: str, value: str, active: NDArray) -> None:
        register, offset = address.strip("[] ").split(" + ")
        at = (self.value(register, "u64") + np.uint64(int(offset)) - np.uint64(self.base)).view(np.int64)[active]
        values = self.value(value.strip("{} "), kind)[active]
        assert at.size == 0 or (at.min() >= 0 and at.max() + values.itemsize <= self.memory.size), "outside"
        for byte in range(values.itemsize):
            self.memory[at + byte] = values.view(np.uint8)[byte :: values.itemsize]
