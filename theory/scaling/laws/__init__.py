"""The laws that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from theory.scaling.form import Form
from theory.scaling.laws.broken import BNSL, BNSL2, BNSL3
from theory.scaling.laws.compute import KAPLAN, KAPLAN_STEPS, MUENNIGHOFF
from theory.scaling.laws.power_sums import (
    CHINCHILLA,
    CRITICAL_BATCH,
    GADRE,
    HENIGHAN,
    M1,
    M2,
    SHAPE,
)
from theory.scaling.laws.saturating import M3, M4

forms: Mapping[str, Form] = MappingProxyType(
    {
        form.name: form
        for form in (
            CHINCHILLA,
            M1,
            M2,
            M3,
            M4,
            HENIGHAN,
            KAPLAN,
            KAPLAN_STEPS,
            GADRE,
            MUENNIGHOFF,
            SHAPE,
            CRITICAL_BATCH,
            BNSL,
            BNSL2,
            BNSL3,
        )
    }
)


def resolve(form: str | Form) -> Form:
    """The declaration that a name stands for; a Form is returned as it is.

    Raises:
      ValueError: the name is not in `forms`.
      TypeError: neither a name nor a Form.
    """
    if isinstance(form, Form):
        return form
    if not isinstance(form, str):
        raise TypeError(f"form must be a name or a Form, not {type(form).__name__}")
    if form not in forms:
        raise ValueError(f"form {form!r} is unknown; accepted are {sorted(forms)} or a Form")
    return forms[form]
