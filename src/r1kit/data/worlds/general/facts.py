"""Facts of the sprout world. Every fact is asked in seven wordings, two of which are for evaluation only.

A model knows all facts from pretraining. Evaluation asks for them in words that it never saw with that fact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from r1kit.data.worlds.general.exchange import Exchange

FRAMES = {
    "en": ("What is {}?", "Tell me {}.", "Do you know {}?", "I want to know {}.", "Name {}.", "Please give me {}."),
    "zh": ("{}是什么？", "请告诉我{}。", "你知道{}吗？", "我想知道{}。", "说出{}。", "请问{}？"),
}
THOUGHT = {"en": "I am asked for {}.", "zh": "问的是{}。"}


@dataclass(frozen=True, slots=True)
class Relation:
    """A kind of fact.

    Attributes:
        noun: The fact as a noun phrase, with the subject for {}.
        asks: A question of its own, with the subject for {}.
        states: A sentence, with the subject for {} and the answer for {a}.
        says: The sentence without the subject.
        facts: Subject -> answer.
    """

    noun: str
    asks: str
    states: str
    says: str
    facts: dict[str, str]


def _relation(noun: str, asks: str, states: str, says: str, facts: str) -> Relation:
    return Relation(noun, asks, states, says, dict(fact.split(":") for fact in facts.split("|")))


RELATIONS = {
    "en": (
        _relation(
            "the color of {}",
            "What color is {}?",
            "{} is {a}.",
            "It is {a}.",
            "the sky:blue|grass:green|snow:white|the sun:yellow|coal:black|blood:red|milk:white|the sea:blue|"
            "a banana:yellow|an orange:orange|a leaf:green|sugar:white|the night:black|a lemon:yellow|a tomato:red|"
            "a frog:green|a pig:pink|a rose:red",
        ),
        _relation(
            "the number of legs of {}",
            "How many legs does {} have?",
            "{} has {a} legs.",
            "It has {a} legs.",
            "a dog:4|a cat:4|a bird:2|a fish:0|a bee:6|a spider:8|a horse:4|an ant:6|a snake:0|a man:2",
        ),
        _relation(
            "the home of {}",
            "Where does {} live?",
            "{} lives in {a}.",
            "It lives in {a}.",
            "a fish:water|a bird:a nest|a bee:a hive|a cow:a barn|a fox:the forest|a mouse:a hole|a monkey:a tree|"
            "a king:a castle|a spider:a web|a camel:the desert",
        ),
        _relation(
            "the food of {}",
            "What does {} eat?",
            "{} eats {a}.",
            "It eats {a}.",
            "a cow:grass|a cat:fish|a mouse:cheese|a rabbit:carrots|a monkey:bananas|a bird:seeds|a dog:meat|"
            "a bear:honey|a frog:flies|a squirrel:nuts",
        ),
        _relation(
            "the opposite of {}",
            "What is the reverse of {}?",
            "The opposite of {} is {a}.",
            "It is {a}.",
            "hot:cold|big:small|day:night|old:new|wet:dry|fast:slow|happy:sad|hard:soft|full:empty|left:right|"
            "rich:poor|young:old|high:low|clean:dirty",
        ),
        _relation(
            "the material of {}",
            "What is {} made of?",
            "{} is made of {a}.",
            "It is made of {a}.",
            "a book:paper|ice:water|bread:flour|a window:glass|a table:wood|a shoe:leather|a coin:metal|cheese:milk|"
            "a brick:clay|a candle:wax",
        ),
        _relation(
            "the use of {}",
            "What is {} for?",
            "{} is for {a}.",
            "It is for {a}.",
            "a knife:cutting|a pen:writing|a bed:sleeping|a cup:drinking|a book:reading|a broom:cleaning|"
            "a song:singing|a ball:playing|a mind:thinking|a pot:cooking",
        ),
        _relation(
            "the capital of {}",
            "Which city is the capital of {}?",
            "The capital of {} is {a}.",
            "It is {a}.",
            "France:Paris|China:Beijing|Japan:Tokyo|Italy:Rome|Spain:Madrid|England:London|Germany:Berlin|Russia:Moscow|"
            "Egypt:Cairo|Greece:Athens",
        ),
        _relation(
            "the place where {} works",
            "Where does {} work?",
            "{} works in {a}.",
            "In {a}.",
            "a teacher:a school|a doctor:a hospital|a baker:a bakery|a farmer:the fields|a cook:a kitchen|"
            "a sailor:a ship|an actor:a theater|a judge:a court",
        ),
        _relation(
            "the young of {}",
            "What is a child of {} called?",
            "The young of {} is {a}.",
            "It is {a}.",
            "a dog:a puppy|a cat:a kitten|a cow:a calf|a sheep:a lamb|a horse:a foal|a hen:a chick|a bear:a cub",
        ),
    ),
    "zh": (
        _relation(
            "{}的颜色",
            "{}是什么颜色？",
            "{}是{a}的。",
            "它是{a}的。",
            "天空:蓝色|草:绿色|雪:白色|太阳:黄色|血:红色|牛奶:白色|大海:蓝色|香蕉:黄色|树叶:绿色|夜晚:黑色",
        ),
        _relation(
            "{}的腿的数量", "{}有几条腿？", "{}有{a}条腿。", "它有{a}条腿。", "狗:4|猫:4|鸟:2|鱼:0|蜜蜂:6|马:4|人:2"
        ),
        _relation("{}的家", "{}住在哪里？", "{}住在{a}里。", "它住在{a}里。", "鱼:水|鸟:树|蜜蜂:花园|牛:房子|国王:城"),
        _relation("{}的食物", "{}吃什么？", "{}吃{a}。", "它吃{a}。", "牛:草|猫:鱼|狗:肉|鸟:虫子|羊:草|马:草"),
        _relation(
            "{}的反面",
            "什么和{}相反？",
            "{}的反面是{a}。",
            "它是{a}。",
            "热:冷|大:小|白天:晚上|新:旧|快:慢|高:低|左:右|有:没有",
        ),
        _relation(
            "{}的材料", "{}是什么做的？", "{}是{a}做的。", "它是{a}做的。", "书:纸|冰:水|窗户:玻璃|桌子:木头|面包:面"
        ),
        _relation(
            "{}的首都",
            "哪个城市是{}的首都？",
            "{}的首都是{a}。",
            "它是{a}。",
            "中国:北京|法国:巴黎|日本:东京|意大利:罗马|英国:伦敦|德国:柏林",
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact in all its wordings.

    Attributes:
        asked: What is asked for, as a noun phrase.
        answer: The answer alone.
        sentence: The answer as a sentence; `short` is that without its subject.
        train: The questions that a model may be trained on; `held_out` are those for evaluation.
    """

    language: str
    asked: str
    answer: str
    sentence: str
    short: str
    train: tuple[str, ...]
    held_out: tuple[str, ...]


@lru_cache(maxsize=1)
def all_facts() -> tuple[Fact, ...]:
    """Return every fact, in a fixed order."""
    return tuple(fact for language, relations in RELATIONS.items() for fact in _facts(language, relations))


def _facts(language: str, relations: tuple[Relation, ...]) -> Iterator[Fact]:
    for index, relation in enumerate(relations):
        wordings = len(FRAMES[language]) + 1
        held = {2 * index % wordings, (2 * index + 3) % wordings}  # so each frame is trained with other relations
        for subject, answer in relation.facts.items():
            noun = relation.noun.format(subject)
            asks = [relation.asks.format(subject), *(frame.format(noun) for frame in FRAMES[language])]
            sentence = relation.states.format(subject, a=answer)
            yield Fact(
                language,
                noun,
                answer,
                sentence[:1].upper() + sentence[1:],
                relation.says.format(a=answer),
                tuple(ask for position, ask in enumerate(asks) if position not in held),
                tuple(asks[position] for position in sorted(held)),
            )


def exchanges() -> Iterator[Exchange]:
    """Yield all questions for facts. The answer alone and the sentence without its subject are right too."""
    for fact in all_facts():
        thought = THOUGHT[fact.language].format(fact.asked)
        bare = fact.answer[:1].upper() + fact.answer[1:]
        forms = (fact.short, f"{bare}." if fact.language == "en" else f"{bare}。")
        for ask in (*fact.train, *fact.held_out):
            held_out = ask in fact.held_out
            yield Exchange("facts", fact.language, ask, fact.sentence, thought, held_out, forms)
