# SPDX-License-Identifier: Apache-2.0
"""Files that use placeholders, nested containers and old opcodes to run something or to take time,
in the form of hostile.py."""

from checkpoints.crafted import (
    PROTO,
    Raw,
    array,
    call,
    dump,
    legacy,
    module,
    named,
    pickled,
    storage_id,
    tensor,
    torch_zip,
)
from checkpoints.hostile import COMMAND, OS, SYSTEM_CALL, attack, given, stacked

THING = named("fork.things", "Thing")
MADE = Raw(THING + b")\x81")
FEW = "contains no known networks"

# Placeholders: whatever is done with an unknown class, nothing is run

given("a placeholder called with a command", FEW, pickled(call("fork.run", "Command", COMMAND)))
given("a placeholder's function called", FEW, pickled(call("fork.run", "system_call", COMMAND)))
given("a placeholder called is called", "refuses to call an object of fork.things.Thing",
      PROTO + THING + b")R)R.", b")R.", 1)  # fmt: skip
given("a placeholder with a reducer", "os.system", PROTO + MADE
      + dump({"__reduce__": named("os", "system")}) + b"b.", OS)  # fmt: skip
given("a placeholder with __setstate__", FEW, PROTO + MADE
      + dump({"__setstate__": THING}) + b"b" + dump(COMMAND) + b"b.")  # fmt: skip
given("BUILD of a placeholder with slots", FEW, PROTO + MADE + dump((None, {"a": 1})) + b"b.")
given("BUILD of a placeholder with laughs", FEW, PROTO + MADE + dump(({"a": 1}, {"a": 2}, {}))
      + b"b.")  # fmt: skip
given("NEWOBJ of a placeholder, arguments that run", "os.system", PROTO + THING
      + dump((SYSTEM_CALL,)) + b"\x81.", OS)  # fmt: skip
given("NEWOBJ_EX of a placeholder", FEW, PROTO + THING + b")}\x92.")
given("NEWOBJ_EX of nothing", "damaged", PROTO + b"}\x92" + b"N" * 10, b"\x92")
given("OBJ of a placeholder", FEW, PROTO + b"(" + THING + dump(COMMAND) + b"o.")
given("OBJ of nothing", "opcode OBJ", PROTO + b"(o.", b"o.")
given("INST of a placeholder", FEW, PROTO + b"(" + dump(COMMAND) + b"ifork\nThing\n.")
given("INST of a known class", "INST of the global collections.OrderedDict",
      PROTO + b"(icollections\nOrderedDict\n.", b"icoll")  # fmt: skip
given("EXT1 of a placeholder's number", "opcode EXT1", PROTO + THING + b"0\x82\x01.", b"\x82")
given("a placeholder as a storage", "without storage", pickled(call("torch._utils",
      "_rebuild_tensor_v2", MADE, 0, (4,), (1,), False, None)))  # fmt: skip
given("a placeholder as a storage's type", "invalid storage id", torch_zip(Raw(dump(("storage",
      THING, "0", "cpu", 4)) + b"Q")), b"Q.")  # fmt: skip
given("a placeholder as the shape", "without shape or strides", pickled(tensor(shape=MADE)))
given("a placeholder as a parameter", "without a tensor", pickled(call("torch._utils",
      "_rebuild_parameter", MADE, False, None)))  # fmt: skip
given("a placeholder as a dtype", "unsupported dtype a Node", pickled(array(dtype=MADE)))
given("a placeholder as a tensor's bytes", "whose contents are not bytes",
      pickled(tensor(blob=MADE)))  # fmt: skip
given("another function makes a tensor", "another function makes", pickled(call("torch._tensor",
      "_rebuild_from_type_v2", THING, THING, (), None)))  # fmt: skip
given("a tensor made by a tensor of a function", "another function makes", pickled(call(
      "torch._tensor", "_rebuild_from_type_v2", named("torch._tensor", "_rebuild_from_type_v2"),
      THING, (), None)))  # fmt: skip
given("a module's class in a zip", "invalid storage id", torch_zip(Raw(dump(("module", THING, "f",
      COMMAND)) + b"Q")), b"Q.")  # fmt: skip
given("a module's class that is none", "invalid storage id", legacy(Raw(dump(("module", COMMAND,
      "f", "text")) + b"Q")))  # fmt: skip
given("a module's class that runs", "os.system", legacy(Raw(dump(("module",
      named("os", "system"), "f", "text")) + b"Q")), OS)  # fmt: skip
given("a placeholder within itself", FEW, PROTO + MADE + b"q\x00" + dump("a") + b"h\x00s.")
given("a placeholder in its own list", FEW, PROTO + MADE + b"q\x00h\x00a.")
given("a list and a dictionary at once", "not a dict", PROTO + MADE + b"NaNNs.", b"s.")
given("a dictionary and a list at once", "not a list", PROTO + MADE + b"NNsNa.", b"a.")
attack("placeholders, 66,000 deep", FEW)(lambda: PROTO + THING + b"q\x000" + b"h\x00" * 60_000
       + b"N" + b"\x85R" * 60_000 + b".")  # fmt: skip
attack("keys that are placeholders, 60,000", FEW)(
    lambda: PROTO + THING + b"q\x000}(" + b"h\x00N" * 60_000 + b"u."
)
attack("keys that are the same tuple, 60,000", FEW)(
    lambda: PROTO + dump((1, 2)) + b"q\x000}(" + b"h\x00N" * 60_000 + b"u."
)
attack("BUILD of 1,000 attributes, 40,000 times", "more than 500,000 opcodes")(
    lambda: PROTO + dump({f"a{i}": None for i in range(1000)}) + b"q\x000" + MADE
    + b"h\x00b" * 40_000 + b"."
)  # fmt: skip
given("a tuple of 17 as a key", "a key that is not", PROTO + b"}" + dump((1,) * 17) + b"Ns.", b"s.")
given("a tuple of tuples as a key", "a key that is not", PROTO + b"}" + dump(((1,),)) + b"Ns.",
      b"s.")  # fmt: skip
given("an array as a key", "a key that is not", PROTO + b"}" + array() + b"Ns.", b"s.")

# Names that run something are refused in any package

for origin, name in (
    ("fork.os", "System"),
    ("fork", "os.System"),
    ("fork.utils", "eval"),
    ("fork.utils", "getattr"),
    ("fork.builtins", "Thing"),
    ("fork", "Thing.__init__"),
    ("fork", "Thing.__class__.__base__"),
    ("fork.__builtins__", "Thing"),
    ("six.moves.builtins", "eval"),
    ("future.builtins", "exec"),
    ("fork._pickle", "Thing"),
    ("fork..things", "Thing"),
    ("fork/things", "Thing"),
    ("fork", "sys"),
    ("Posix", "system"),
    ("builtins", "map"),
    ("builtins", "print"),
    ("builtins", "object.__subclasses__"),
    ("datetime", "sys"),
    ("datetime", "datetime.now"),
    ("collections", "namedtuple"),
    ("enum", "_make_class_unpicklable"),
    ("types", "FunctionType"),
    ("types", "MethodType"),
    ("typing", "sys.modules"),
    ("logging", "FileHandler"),
    ("logging.config", "dictConfig"),
    ("random", "_os"),
    ("ctypes", "CDLL"),
    ("ctypes.util", "find_library"),
    ("multiprocessing.process", "Process"),
    ("threading", "Thread"),
    ("tempfile", "TemporaryFile"),
    ("urllib.request", "urlopen"),
    ("zipimport", "zipimporter"),
    ("code", "InteractiveInterpreter"),
    ("timeit", "Timer"),
    ("bdb", "Bdb"),
    ("pdb", "Pdb"),
    ("cProfile", "Profile"),
    ("doctest", "DocTestRunner"),
    ("joblib.numpy_pickle", "NumpyArrayWrapper"),
    ("pip._internal", "Main"),
    ("torch.jit", "ScriptModule"),
    ("torch.package", "PackageImporter"),
    ("torch.hub", "Load"),
    ("torch.utils.cpp_extension", "BuildExtension"),
    ("torch.ops", "Thing"),
    ("torch._C", "_jit_script"),
    ("numpy.f2py", "compile"),
    ("numpy.ctypeslib", "load_library"),
    ("numpy.random._pickle", "__import__"),
    ("torch.nn.functional", "os.system"),
    ("torch.nn.functional", "F.__builtins__"),
    ("__main__", "Thing.run"),
    ("x" * 300, "Thing"),
):
    given(f"{origin[:40]}: {name}", f"{origin}.{name}"[:100], stacked(origin, name), b"\x93")
given("copyreg in protocol 4", "copyreg._reconstructor", pickled(call("copyreg", "_reconstructor",
      THING, named("builtins", "object"), None)), b"ccopy")  # fmt: skip

# Old opcodes

OLD = b"ccopy_reg\n_reconstructor\n"
given("old: INST", "INST of the global os.system", b"(S'" + COMMAND.encode() + b"'\nios\nsystem\n.",
      b"ios")  # fmt: skip
given("old: OBJ", "os.system", b"((cos\nsystem\nS'true'\noI1\nt.", OS)
given("old: a reconstructor of a function", "os.system", OLD + b"(" + OS + b"NNtR.", OS)
given("old: a reconstructor of a placeholder", FEW, OLD + b"(cfork\nThing\nc__builtin__\ndict\n"
      b"(dS'a'\nI1\nstRp0\n.")  # fmt: skip
given("old: a reconstructor of text", "an object without a class", OLD + b"(S'os.system'\nNNtR.")
given("old: a reconstructor of a tensor", "an object of torch._utils", OLD
      + b"(ctorch._utils\n_rebuild_tensor_v2\nNNtR.")  # fmt: skip
given("old: PERSID", "opcode PERSID", b"(lPos.system\na.", b"Pos")
given("old: EXT", "opcode EXT4", b"(l\x84\x01\x00\x00\x00a.", b"\x84")
given("old: a string that is an expression", "without quotes", b"(lS__import__('os')\na.", b"S__")
given("old: a number that is an expression", "a number that is none", b"(lI1+1\na.", b"I1+")
given("old: a number of 5,000 digits", "a name without an end", b"(lI" + b"9" * 5000 + b"\na.")
given("old: a number of 400 digits", "a number that is none", b"(lI" + b"9" * 400 + b"\na.")
given("old: digits of another script", "a number that is none", b"(lI\xd9\xa1\na.", b"I\xd9")
given("old: a float with underscores", "a number that is none", b"(lF1_0\na.", b"F1")
given("old: a memo without end", "an invalid number in the memo", b"(lp" + b"9" * 20 + b"\n.")
given("old: a negative memo", "an invalid number in the memo", b"(lp-1\n.", b"p-1")
given("old: GET of nothing", "damaged", b"(lg5\na" + b"N" * 10, b"g5")
given(
    "old: text without an end",
    "the file ends too early; copy or download it again",
    b"(lVabc" + b"d" * 100_000,
)
given("old: a string of 1 MB", "a line that is too long", b"(lS'" + b"a" * (1 << 20) + b"'\na.")
given("old: half an escape", "damaged", b"(lV\\u1\na.", b"V")
given("old: a string of -1 bytes", "a string of -1 bytes", b"(lT\xff\xff\xff\xffa.", b"T")
given(
    "old: a string of 2 GB",
    "the file ends too early; copy or download it again",
    b"(lT\xff\xff\xff\x7fa.",
    b"T",
)
given("old: a tensor's bytes", "not a pickle of protocol 2", pickled(tensor(blob=b"(dp0\n.")))
attack("old: 1 MB of marks", "more than 500,000 opcodes")(lambda: b"((l" + b"(" * (1 << 20))
attack("old: keys of the same hash", "a key that is not a string")(
    lambda: b"(dp0\n(" + b"".join(b"I%d\nN" % (i * ((1 << 61) - 1)) for i in range(60_000)) + b"u."
)
attack("old: the same long text 40,000 times", "the same text is used many times")(
    lambda: b"(lc_codecs\nencode\np0\n0(V" + b"x" * 120_000 + b"\nVlatin1\ntp1\n0"
    + b"g0\ng1\nR" * 40_000 + b"."
)  # fmt: skip

# Containers

TENSOR = call("torch._utils", "_rebuild_tensor_v2", storage_id(4), 0, (4,), (1,), False, None)
TINY = module("Unet", tensors={"w": tensor()})
attack("dictionaries, 60,000 deep", FEW)(
    lambda: PROTO + dump("model") + b"q\x000" + b"}" + b"h\x00}" * 50_000 + b"s" * 50_000 + b"."
)
attack("a list of 100,000 dictionaries", FEW)(lambda: PROTO + b"](" + b"}" * 100_000 + b"e.")
attack("a dictionary of itself", FEW)(
    lambda: PROTO + b"}q\x00(" + b"".join(dump(k) + b"h\x00" for k in ("model", "G", "g", "nets"))
    + b"u."
)  # fmt: skip
attack("a list of 300 of 300 of 300 ... networks", FEW)(
    lambda: PROTO + TINY + b"q\x000" + (b"(" + b"h\x00" * 300 + b"lq\x000") * 30 + b"h\x00."
)
attack("a state dict of 60,000 names, 19,000 times", FEW)(
    lambda: torch_zip(
        Raw(
            TENSOR
            + b"q\x000"
            + b"}("
            + b"".join(dump(f"synthesis.a{i}") + b"h\x00" for i in range(60_000))
            + b"uq\x010("
            + b"h\x01" * 19_000
            + b"l"
        )
    )
)
attack("100,000 names behind seven wrappers, under ten keys", FEW)(
    lambda: torch_zip(
        Raw(
            TENSOR
            + b"q\x000"
            + b"}("
            + b"".join(dump("module." * 7 + f"{i}.a") + b"h\x00" for i in range(100_000))
            + dump("b")
            + b"N"
            + b"uq\x010"
            + dump({k: Raw(b"h\x01") for k in ("x", "model", "net", "nets", "state", "y", "z")})
        )
    )
)
attack("a list of 100 of 100 networks", "mapping and synthesis are missing")(
    lambda: PROTO + TINY + b"q\x000" + (b"(" + b"h\x00" * 100 + b"lq\x000") * 2 + b"h\x00."
)


@attack("wrappers, 100 deep", "64 levels")
def wrappers():
    inner = TINY
    for _ in range(100):
        inner = Raw(inner + b"q\x070" + module("W", children={"module": Raw(b"h\x07")}))
    return pickled({"G": inner})


given("a state dict whose keys are commands", "not a dictionary of named tensors", torch_zip(
      {"input.input": TENSOR, "a\n$(true)": 1, "__class__.x": 1}))  # fmt: skip
given("a state dict with a long prefix", FEW, torch_zip(
      {"module." * 5000 + "a": TENSOR}))  # fmt: skip
