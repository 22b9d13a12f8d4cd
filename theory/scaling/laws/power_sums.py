"""Laws that are sums of power laws."""

from __future__ import annotations

from theory.scaling.form import Form, Report, Term

CHINCHILLA = Form(
    name="chinchilla",  # Hoffmann et al. (2022), equation 2; N parameters, D tokens
    target="loss",
    terms=(Term("E"), Term("A", {"N": "-alpha"}), Term("B", {"D": "-beta"})),
    domain={"alpha": (0.0, 3.0), "beta": (0.0, 3.0)},
)

M1 = Form(
    name="m1",  # Alabdulmohsin et al. (2022), M1: y = b x^c
    target="y",
    terms=(Term("b", {"x": "c"}),),
    domain={"c": (-5.0, 5.0)},
)

M2 = Form(
    name="m2",  # Alabdulmohsin et al. (2022), M2: y = b x^c + e_inf, falling in x
    target="y",
    terms=(Term("b", {"x": "c"}), Term("e_inf")),
    domain={"c": (-5.0, 0.0)},
)

HENIGHAN = Form(
    name="henighan",  # Henighan et al. (2020), equation 1.1: M2 with x0 = b^(1/a)
    target="y",
    terms=(Term("L_inf"), Term("b", {"x": "-a"})),
    domain={"a": (0.0, 5.0)},
    text="L_inf + (x0 / x)^a",
    report=Report(
        params={"L_inf": True, "x0": True, "a": False},
        of=lambda p: {"L_inf": p["L_inf"], "x0": p["b"] ** (1 / p["a"]), "a": p["a"]},
        back=lambda q: {"L_inf": q["L_inf"], "b": q["x0"] ** q["a"], "a": q["a"]},
        words={"b": "x0"},
    ),
)

GADRE = Form(
    name="gadre",  # Gadre et al. (2024), equation 4; M = D / N tokens per parameter, C compute
    target="loss",
    terms=(
        Term("E"),
        Term("a", {"M": "eta", "C": "-eta"}),
        Term("b", {"M": "-eta", "C": "-eta"}),
    ),
    domain={"eta": (0.0, 1.5)},
    text="E + (a M^eta + b M^-eta) C^-eta, M = D/N",
)

SHAPE = Form(
    name="shape",  # Alabdulmohsin et al. (2023), Getting ViT in Shape: x a dimension, t compute
    target="loss",
    terms=(
        Term("a", {"x": "-p"}),
        Term("b", {"x": "q", "t": "-c"}),
        Term("xi", {"t": "-c"}),
        Term("e"),
    ),
    domain={"p": (0.0, 3.0), "q": (0.0, 3.0), "c": (0.0, 3.0)},
    text="a x^-p + (b x^q + xi) t^-c + e",
)

CRITICAL_BATCH = Form(
    name="critical_batch",  # McCandlish et al. (2018), equation 5.1, with E = B S examples:
    target="S",  # (S/S_min - 1)(E/E_min - 1) = 1 is S = S_min + E_min / B
    terms=(Term("S_min"), Term("E_min", {"B": -1.0})),
    domain={},
)
