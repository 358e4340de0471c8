"""Words around the letter of a multiple-choice answer, in the languages in which models answer."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Words that may precede the letter. None of them denies, doubts or restricts: "not", "if" and "except" are missing.
_BEFORE = """
so thus therefore hence then finally indeed clearly simply definitely obviously certainly probably ultimately likely
most the my our this that it it's its which only correct right best final accurate appropriate suitable answer
option choice letter response solution result conclusion selection selected one here question is are be must should
would will has to matches corresponds with select choose pick we'd we'll
die der das richtig richtige korrekte beste endgültige antwort lösung buchstabe ist lautet also daher somit folglich
la le bonne meilleure réponse correcte finale lettre choix c'est est donc ainsi
respuesta opción correcta correcto final letra solución alternativa es por lo tanto así que entonces
resposta correta opção é portanto logo risposta corretta finale opzione lettera è quindi
jawaban jawabannya pilihan yang benar tepat akhir adalah jadi antwoord juiste het is dus
cevap doğru đáp án đúng là odpowiedź prawidłowa poprawna to
правильный верный окончательный ответ ответом является вариант буква это итак следовательно поэтому значит
सही उत्तर विकल्प है
الإجابة الجواب الصحيحة الصحيح النهائية النهائي الخيار هي هو إذن لذلك
""".split()
_PHRASES = (
    r"(?:i|we)(?:['’](?:d|ll|m|re))?(?:\s+(?:would|will|am|are))?\s+"
    r"(?:choose|pick|select|say|think|believe|conclude|going|go|confident|certain)(?:\s+(?:with|that))?",
    r"l['’](?=\w)|a\s+(?=resposta|alternativa|opção)",
    r"(?:based\s+on|given|among|out\s+of|of|considering|according\s+to)\s[^,.;:!?\n]{1,60},",
    r"not\s+[(\[]?[A-Z][)\]]?,?\s+but(?:\s+rather)?(?!\w)",
    r"ich\s+wähle|je\s+(?:choisis|pense\s+que)|(?:yo\s+)?elijo|eu\s+escolho|scelgo|saya\s+memilih|я\s+выбираю",
)
# Scripts without spaces between words
_GLUED = """
故 因此 所以 综上 綜上 综上所述 本题 本題 我 应该 應該 应 應 正确 正確 最终 最終 最佳 参考 的
选项 選項 答案 是 为 為 选择 選擇 选 選
最終的な 回答 解答 正解 正答 正しい 答え 答 選択肢 したがって よって ゆえに は が
최종 정답 올바른 답 선택지 따라서 그러므로 은 는
""".split()


def _any_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


BEFORE = re.compile(
    rf"(?:(?:{_any_of(_BEFORE)})(?![\w'’])|{'|'.join(_PHRASES)}|{_any_of(_GLUED)}|[\s:：,，、،=→➡✅✓✔☑>•\ufe0f]+"
    r"|[-–—](?=\s+[^\W\d]|\s+[(\[]|\s*$)|\d\.\s)",
    re.IGNORECASE,
)
# Words that may follow the letter and confirm it, up to the end of the sentence
AFTER = re.compile(
    r"\s*(?:です|だ|である|が(?:正解|正しい)(?:です|である|だ)?|입니다|이다|번(?:입니다|이다)?|[이가]\s*(?:정답|답)(?:입니다|이다)?"
    r"|(?:选项|選項|项)?(?:是|为)?(?:正确|正確|对|對)(?:的|答案|选项)*"
    r"|\s(?:(?:(?:is|would\s+be|must\s+be)\s+(?:the\s+)?(?:only\s+|most\s+)?"
    r"(?:correct|right|best|true|accurate|appropriate)(?:\s+(?:answer|option|choice|one))?)|it\s+is"
    r"|ist\s+(?:richtig|korrekt|die\s+richtige\s+antwort)|die\s+richtige\s+(?:antwort|lösung|option)|est\s+(?:correcte?|juste|la\s+bonne\s+réponse)"
    r"|es\s+(?:correct[ao]|la\s+(?:respuesta\s+correcta|correcta))|(?:está|é|è)\s+(?:corret[ao]|corrett[ao])"
    r"|(?:является\s+)?(?:правильн|верн)(?:ый|ым)?(?:\s+ответ(?:ом)?)?|है|(?:هو|هي)?\s*(?:صحيحة?|الصحيحة?)"
    r"|adalah\s+(?:jawaban\s+)?(?:yang\s+)?benar))(?![\w'’])",
    re.IGNORECASE,
)
OR = (
    "or|and|not|but|nor|oder|und|ou|et|o|u|y|e|atau|dan|of|en|lub|ili|или|и|veya|hoặc|أو|و|या"
    "|option|choice|answer is|maybe|perhaps|either|also|actually|wait"
)
# What denies the option whose letter it follows
DENIAL = re.compile(
    r"\s*(?:[:(\-–—]\s*)?(?:wrong|incorrect|falsch|faux|fausse|incorrect[aeo]|errad[ao]|sbagliat[ao]|неверн|неправильн"
    r"|错|錯|不正确|不正確|間違|誤|틀|خطأ|غلط|गलत)|\s*(?:(?:is|are|was|does|can|could|would|should|must|ist|est|es|é|è)\s*)?"
    r"(?:n['’]t|not|never|false|wrong|incorrect|out|ruled|eliminated|excluded|impossible|unlikely|nicht|falsch|pas"
    r"|n['’]est|faux|fausse|falsa|incorrect[aeo]|no\s+es|não|non|не)(?![\w'’])|\s*(?:が|は)?(?:では|じゃ|間違|誤)"
    r"|\s*(?:不是|不|并非|是?错|是?錯)|\s*[이가]?\s*(?:아니|아닙|틀)|\s*(?:ليس|خطأ|غلط|नहीं|गलत)",
    re.IGNORECASE,
)
HEADING = re.compile(
    r"^[ \t]*(?:#+[ \t]*|\*\*[ \t]*)(?:the\s+)?(?:final|correct|my)?[ \t]*(?:answer|antwort|réponse|respuesta|resposta"
    r"|risposta|ответ|答案|最终答案|最終回答|答え|정답|최종\s*답|الإجابة)[ \t]*[:：]?[ \t]*\**[ \t]*[:：]?[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
