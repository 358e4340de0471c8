"""Translation between English and Chinese in the sprout world: words, and things with an adjective."""

from __future__ import annotations

from collections.abc import Iterator

from r1kit.data.worlds.general.exchange import Exchange, is_held_out

LEXICON = {
    "water": "水",
    "book": "书",
    "dog": "狗",
    "cat": "猫",
    "house": "房子",
    "tree": "树",
    "sun": "太阳",
    "moon": "月亮",
    "day": "天",
    "night": "晚上",
    "one": "一",
    "two": "二",
    "three": "三",
    "school": "学校",
    "teacher": "老师",
    "friend": "朋友",
    "food": "食物",
    "bread": "面包",
    "fish": "鱼",
    "bird": "鸟",
    "answer": "答案",
    "question": "问题",
    "think": "想",
}
THINGS = ("book", "dog", "cat", "house", "tree", "fish", "bird")
ADJECTIVES = {"big": "大", "small": "小", "red": "红色的", "blue": "蓝色的", "green": "绿色的", "white": "白色的"}
TRAIN = {
    "en": ("How do you say {} in Chinese?", "Translate to Chinese: {}", "What is {} in Chinese?"),
    "zh": ("{}用英语怎么说？", "翻译成英语：{}", "{}的英语是什么？"),
}
HELD_OUT = {"en": ("Tell me {} in Chinese.", "Say in Chinese: {}"), "zh": ("用英语说：{}", "请翻译成英语：{}")}
THOUGHT = {"en": "I say {} in Chinese.", "zh": "我用英语说{}。"}


def exchanges() -> Iterator[Exchange]:
    """Yield words in all wordings, and adjectives with things of which some pairs are for evaluation only."""
    pairs = {
        f"{adjective} {thing}": ADJECTIVES[adjective] + LEXICON[thing] for adjective in ADJECTIVES for thing in THINGS
    }
    words = {**LEXICON, **{adjective: word.removesuffix("的") for adjective, word in ADJECTIVES.items()}}
    for english, chinese in (words | pairs).items():
        for language, said, reply in (("en", english, chinese), ("zh", chinese, english)):
            thought = THOUGHT[language].format(said)
            held_out = " " in english and is_held_out(f"translation:{english}")
            for wording in () if held_out else TRAIN[language]:
                yield Exchange("translation", language, wording.format(said), reply, thought, False)
            for wording in HELD_OUT[language] if held_out or " " not in english else ():
                yield Exchange("translation", language, wording.format(said), reply, thought, True)
