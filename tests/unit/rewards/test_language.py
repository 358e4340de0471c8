"""The language reward: languages are identified, and words without a language are left out."""

from __future__ import annotations

import time
from random import Random

import pytest

from r1kit.data.language import words
from r1kit.data.language.identify import consistency, dominant, language_code
from r1kit.data.problem_rows import to_problem
from r1kit.data.worlds import FAMILIES
from r1kit.data.worlds.task import Slips
from r1kit.errors import UserError
from r1kit.rewards.score import score
from r1kit.types import Problem

THOUGHTS = {
    "en": "Let us add the two numbers first. Wait, the second one is negative, so the sum gets smaller. Check again.",
    "zh": "首先把两个数加起来。等一下，第二个数是负数，所以和会变小。我们再检查一遍。",
    "de": "Zuerst addieren wir die beiden Zahlen. Moment, die zweite ist negativ, also wird die Summe kleiner.",
    "fr": "Additionnons d'abord les deux nombres. Attention, le second est négatif, donc la somme devient plus petite.",
    "es": "Primero sumamos los dos números. Espera, el segundo es negativo, así que la suma se hace más pequeña.",
    "pt": "Primeiro somamos os dois números. Espere, o segundo é negativo, então a soma fica menor do que antes.",
    "it": "Prima sommiamo i due numeri. Aspetta, il secondo è negativo, quindi la somma diventa più piccola.",
    "nl": "Eerst tellen we de twee getallen op. Wacht, het tweede getal is negatief, dus de som wordt kleiner.",
    "sv": "Först lägger vi ihop de två talen. Vänta, det andra är negativt, så summan blir mindre än förut.",
    "fi": "Ensin laskemme kaksi lukua yhteen. Hetkinen, toinen luku on negatiivinen, joten summa pienenee.",
    "pl": "Najpierw dodajemy dwie liczby. Chwila, druga jest ujemna, więc suma się zmniejsza. Sprawdźmy jeszcze raz.",
    "cs": "Nejprve sečteme obě čísla. Počkat, druhé je záporné, takže součet bude menší. Zkontrolujme to ještě jednou.",
    "tr": "Önce iki sayıyı topluyoruz. Bir dakika, ikincisi negatif, bu yüzden toplam küçülüyor.",
    "vi": "Trước tiên chúng ta cộng hai số. Khoan đã, số thứ hai là số âm nên tổng sẽ nhỏ hơn.",
    "id": "Pertama-tama kita menjumlahkan kedua bilangan itu. Tunggu, bilangan kedua negatif, jadi jumlahnya mengecil.",
    "sw": "Kwanza tunajumlisha namba mbili. Subiri, namba ya pili ni hasi, kwa hiyo jumla inakuwa ndogo zaidi.",
    "ru": "Сначала сложим два числа. Подождите, второе число отрицательное, поэтому сумма становится меньше.",
    "bg": "Първо събираме двете числа. Чакай, второто е отрицателно, затова сборът става по-малък от преди.",
    "uk": "Спочатку додаємо два числа. Зачекайте, друге число від'ємне, тому сума стає меншою. Перевіримо ще раз.",
    "ar": "أولا نجمع العددين معا. انتظر، العدد الثاني سالب، لذلك يصبح المجموع أصغر. لنتحقق مرة أخرى.",
    "fa": "ابتدا دو عدد را با هم جمع می‌کنیم. صبر کن، عدد دوم منفی است، پس مجموع کوچک‌تر می‌شود.",
    "ur": "پہلے ہم دونوں اعداد کو جمع کرتے ہیں۔ رکیں، دوسرا عدد منفی ہے، اس لیے مجموعہ کم ہو جاتا ہے۔",
    "hi": "पहले हम दोनों संख्याओं को जोड़ते हैं। रुकिए, दूसरी संख्या ऋणात्मक है, इसलिए योग कम हो जाता है।",
    "mr": "आधी आपण दोन्ही संख्यांची बेरीज करू. थांबा, दुसरी संख्या ऋण आहे, म्हणून बेरीज कमी होते आहे.",
    "ne": "पहिले हामी दुवै सङ्ख्या जोड्छौं। पर्खनुहोस्, दोस्रो सङ्ख्या ऋणात्मक छ, त्यसैले योगफल घट्छ।",
    "bn": "প্রথমে আমরা দুটি সংখ্যা যোগ করি। দাঁড়ান, দ্বিতীয় সংখ্যাটি ঋণাত্মক, তাই যোগফল কমে যায়।",
    "ja": "まず二つの数を足します。待ってください、二つ目は負の数なので、合計は小さくなります。",
    "ko": "먼저 두 수를 더합니다. 잠깐, 두 번째 수는 음수이므로 합이 작아집니다.",
    "th": "ก่อนอื่นเราบวกเลขสองจำนวน เดี๋ยวก่อน จำนวนที่สองเป็นลบ ดังนั้นผลรวมจึงน้อยลง",
    "el": "Πρώτα προσθέτουμε τους δύο αριθμούς. Περίμενε, ο δεύτερος είναι αρνητικός, άρα το άθροισμα μικραίνει.",
    "ta": "முதலில் இரண்டு எண்களைக் கூட்டுகிறோம். இரண்டாவது எண் எதிர்மறை என்பதால் கூட்டுத்தொகை குறைகிறது.",
    "kn": "ಮೊದಲು ನಾವು ಎರಡು ಸಂಖ್ಯೆಗಳನ್ನು ಕೂಡಿಸುತ್ತೇವೆ. ಎರಡನೆಯದು ಋಣಾತ್ಮಕ, ಆದ್ದರಿಂದ ಮೊತ್ತ ಕಡಿಮೆಯಾಗುತ್ತದೆ.",
}  # fmt: skip


@pytest.mark.parametrize("code", THOUGHTS)
def test_a_text_in_one_language_is_fully_consistent(code):
    other = "zh" if code == "en" else "en"
    assert dominant(THOUGHTS[code]) == code
    assert consistency(THOUGHTS[code], code) == 1 and consistency(THOUGHTS[code], other) == 0
    mixed = THOUGHTS[code] + "\n" + THOUGHTS[other]
    assert 0.2 < consistency(mixed, code) < 0.9
    assert consistency(mixed, code) + consistency(mixed, other) == pytest.approx(1)


def test_code_formulas_numbers_and_names_have_no_language():
    plain = THOUGHTS["zh"]
    extra = "```python\nfor word in words: print(word)\n``` `value` $\\text{so we get } x$ \\(alpha\\) "
    extra += "https://a.example/b x1 42 GPU n"
    assert consistency(plain + extra + "，王小明和 Alice 说好。", "zh") == 1
    assert consistency("Alice pays $5 and Bob pays $6 for it, that is all they pay.", "fr") == 0
    assert consistency("3 + 4 = 7", "en") == 1 and consistency("我们 so we get 首先", "zh") == pytest.approx(4 / 7)


def test_language_names_and_codes_are_understood():
    codes = {"en": "en", "English": "en", "zh-CN": "zh", "zh_Hans": "zh", "中文": "zh", "nb": "no"}
    assert {name: language_code(name) for name in codes} == codes
    with pytest.raises(UserError, match=r"'Germn'.*did you mean german"):
        language_code("Germn")


def test_consistency_is_exact_in_the_sprout_world():
    """Chinese and English lines are distinguished without error, even with random slips."""
    rng, checked = Random(0), 0
    for family in FAMILIES.values():
        for _ in range(60):
            task = family.make(rng, rng.randint(1, 5))
            for language in ("en", "zh"):
                lines, _ = family.work(task, rng, lambda language=language: language, Slips(rng, 0.5, 0.5))
                text = "\n".join(lines)
                assert consistency(text, language, among=("en", "zh")) == 1, text
                checked += any(len(word) > 1 and word.isalpha() for word in text.split())
    assert checked > 20
    assert consistency("wait tge nmbr iz", "en", among=("en", "zh")) == 1


def test_the_reward_measures_the_thinking_only():
    def earned(text, language="zh"):
        problem = Problem("p", "", "5", language=language)
        return score(problem, text, {"language": 2.0}, think_open=False, answer_tags=False, truncated=False).total

    assert earned("<think>我们先相加</think> so it is \\boxed{5}") == 2
    assert earned("<think>so we add them</think> 答案是五") == 0
    assert earned("<think>so we add them") == 0 and earned("<think> </think> 五") == 0


def test_thought_in_the_language_of_the_question_is_rewarded():
    for code, thought in THOUGHTS.items():
        problem = to_problem({"question": thought, "answer": "5"}, "row 1", "family")
        text = f"<think>{thought}</think> 5"
        earned = score(problem, text, {"language": 1.0}, think_open=False, answer_tags=False, truncated=False).total
        assert (problem.language, earned) == (code, 1)


def test_a_full_vocabulary_is_emptied(monkeypatch):
    monkeypatch.setattr(words, "MAX_TOKENS", 10)
    shares = [consistency(THOUGHTS[code], "de") for code in ("de", "en", "fr", "de")]
    assert shares == [1, 0, 0, 1]


@pytest.mark.parametrize(
    "unit", ["$a", "```x", "\\(", "a@", "$", "<think>", "Wait. ", "1a", "_", "A", "é", "我a ", "\u0300"]
)
def test_hostile_texts_take_bounded_time(unit):
    started = time.process_time()
    consistency(unit * (300_000 // len(unit)), "en")
    assert time.process_time() - started < 6
