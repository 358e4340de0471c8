"""Words that change, bound or deny a number, as opposed to units and other words that may be dropped."""

from __future__ import annotations

import re

_DENY = """not no nope nah never none neither
nor cannot cant wont isnt false untrue wrong incorrect invalid impossible unlikely
excluded reject rejected discarded eliminated dismissed refuted disproved denied doubt doubts doubted doubtful
questionable ruled fail fails failed violates violated contradicts contradicted contradiction contradictory absurd
differs differ unequal excludes except excluding without mistaken erroneous error unless nothing bad void hardly
scarcely extraneous untenable inadmissible spurious unsuitable unacceptable refuse refuses
falsch nicht kein keine faux fausse pas falso falsa incorrecto incorrecta incorrecte errado errada não
sbagliato sbagliata niet geen inte ikke nie неверно неправильно не нет"""
_HEDGE = """or and if else wait maybe perhaps either but rather instead possibly alternatively actually probably guess
unsure whether unknown versus vs otherwise"""
_BOUND = """less more fewer than least most over under above below beyond upper lower bound bounds minimum maximum
up upward upwards down downward downwards onward onwards plus minus greater larger smaller exceeding before after
until since between to through almost nearly short"""
_SCALE = """dozen dozens score scores gross grosses myriad myriads arab kilo mega giga mn tn zillion hundred hundreds
thousand thousands lakh lakhs lac crore crores million millions mil billion billions bn trillion trillions quadrillion
tens ten times double doubled triple tripled twice squared cubed squares cubes factorial fold half halve halves third
quarter quarters tenth tenths hundredth thousandth percent pct permille point base mod modulo power root radical k one
two three four five six seven eight nine eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen
twenty thirty forty fifty sixty seventy eighty ninety zero am pm dutzend hundert tausend millionen milliarde
milliarden douzaine mille milliers milliard milliards docena docenas cien millón millones dúzia milhão milhões
mila milione milioni сто тысяча тысячи тысяч миллион миллиона миллионов"""
_VERB = """is are was were be been being has have had does do did will would could should can may might must shall
ought equals becomes"""
_ALTERING = frozenset(" ".join((_DENY, _HEDGE, _BOUND, _SCALE, _VERB)).split())
_FORMS = re.compile(r"n't$|^(?:in|un|im)(?:correct|valid|possible|true)|(?:illi|fif|six|seven|eigh|nin|ten|red|sand)th|"
                    r"illions?$|fold$|wards?$|^[ap]\.?m\.?$")  # fmt: skip
_CHINESE = re.compile("[十百千万亿倍或和不半点又至到余多错否]|以上|以下|以内|左右|超过|上下")


def alters(words: str) -> bool:
    """Return whether words behind a number change, bound or deny it: "is wrong", "lakh", "as a lower bound"."""
    if _CHINESE.search(words):
        return True
    return any(
        word.strip(".") in _ALTERING or _FORMS.search(word) for word in re.findall(r"(?:[^\W\d_]|[.'])+", words.lower())
    )
