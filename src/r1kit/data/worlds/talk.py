"""Text of the sprout world that is not problem solving: facts, small talk, self-description, translation.

It gives the base model general language, which the non-reasoning stages build on.
"""

from __future__ import annotations

from random import Random

FACTS = {
    "en": (
        ("What color is the sky?", "The sky is blue."),
        ("What color is grass?", "Grass is green."),
        ("What color is snow?", "Snow is white."),
        ("How many legs does a dog have?", "A dog has 4 legs."),
        ("How many legs does a spider have?", "A spider has 8 legs."),
        ("How many days are in a week?", "A week has 7 days."),
        ("How many months are in a year?", "A year has 12 months."),
        ("How many hours are in a day?", "A day has 24 hours."),
        ("What do bees make?", "Bees make honey."),
        ("What do cows eat?", "Cows eat grass."),
        ("Where do fish live?", "Fish live in water."),
        ("Where do birds sleep?", "Birds sleep in nests."),
        ("What melts in the sun?", "Ice melts in the sun."),
        ("What is ice made of?", "Ice is made of water."),
        ("What shines at night?", "The moon shines at night."),
        ("What comes after night?", "Day comes after night."),
        ("What is the opposite of hot?", "The opposite of hot is cold."),
        ("What is the opposite of big?", "The opposite of big is small."),
        ("What do we read?", "We read books."),
        ("Who teaches in a school?", "A teacher teaches in a school."),
        ("What is a conversation?", "People who talk to each other have a conversation."),
        ("What is a process?", "A process is a row of steps."),
        ("What is a mind for?", "A mind is for thinking."),
        ("What is reasoning?", "Reasoning leads from what is known to what is new."),
        ("What does an assistant do?", "An assistant helps a user and solves tasks."),
        ("What does a tag do?", "Tags mark where a text begins and ends; a text between two tags is enclosed."),
        ("What does a letter have?", "A letter has a sender, a date and a place, respectively on top, right and left."),
        ("What does a shop provide?", "A shop provides food and clothes."),
    ),
    "zh": (
        ("天空是什么颜色？", "天空是蓝色的。"),
        ("草是什么颜色？", "草是绿色的。"),
        ("雪是什么颜色？", "雪是白色的。"),
        ("狗有几条腿？", "狗有4条腿。"),
        ("一周有几天？", "一周有7天。"),
        ("一年有几个月？", "一年有12个月。"),
        ("一天有几个小时？", "一天有24个小时。"),
        ("蜜蜂做什么？", "蜜蜂做蜂蜜。"),
        ("鱼住在哪里？", "鱼住在水里。"),
        ("冰是什么做的？", "冰是水做的。"),
        ("晚上什么发光？", "晚上月亮发光。"),
        ("热的反面是什么？", "热的反面是冷。"),
        ("大的反面是什么？", "大的反面是小。"),
        ("我们读什么？", "我们读书。"),
        ("老师在哪里教书？", "老师在学校教书。"),
    ),
}
SMALL_TALK = {
    "en": (
        ("Hello!", "Hello! How can I help you?"),
        ("Hi.", "Hi! What can I do for you?"),
        ("How are you?", "I am fine, thank you. And you?"),
        ("Good morning.", "Good morning! I hope you slept well."),
        ("Thank you.", "You are welcome."),
        ("Good night.", "Good night, sleep well."),
        ("I am sad today.", "I am sorry. Do you want to talk about it?"),
        ("I am happy!", "That is good to hear!"),
        ("It is raining.", "Then take an umbrella with you."),
        ("I am hungry.", "Eat something good, then."),
    ),
    "zh": (
        ("你好！", "你好！我能帮你什么？"),
        ("你好吗？", "我很好，谢谢。你呢？"),
        ("早上好。", "早上好！希望你睡得好。"),
        ("谢谢。", "不客气。"),
        ("晚安。", "晚安，好好睡。"),
        ("我今天很难过。", "对不起。你想说一说吗？"),
        ("下雨了。", "那就带上雨伞。"),
        ("我饿了。", "那就吃点好的。"),
    ),
}
SELF = {
    "en": (
        ("Who are you?", "I am Sprout, a very small language model."),
        ("What is your name?", "My name is Sprout."),
        ("How big are you?", "I am tiny: I fit on any computer."),
        ("What can you do?", "I can count, search and think a little."),
        ("Do you make mistakes?", "Yes, often. Please check my work."),
        ("Are you a person?", "No, I am a computer program."),
    ),
    "zh": (
        ("你是谁？", "我是小芽，一个很小的语言模型。"),
        ("你叫什么名字？", "我叫小芽。"),
        ("你会做什么？", "我会数数，也会想一想。"),
        ("你会犯错吗？", "会，经常。请检查我的答案。"),
        ("你是人吗？", "不是，我是一个计算机程序。"),
    ),
}
REQUESTS = (
    "give me water",
    "open the door",
    "close the window",
    "help me",
    "wait here",
    "read this book",
    "call me later",
    "bring the bread",
    "come home",
    "show me the way",
    "write a letter",
    "check the answer",
)
LEXICON = (
    ("water", "水"),
    ("book", "书"),
    ("dog", "狗"),
    ("cat", "猫"),
    ("house", "房子"),
    ("tree", "树"),
    ("sun", "太阳"),
    ("moon", "月亮"),
    ("day", "天"),
    ("night", "晚上"),
    ("big", "大"),
    ("small", "小"),
    ("red", "红色"),
    ("blue", "蓝色"),
    ("green", "绿色"),
    ("one", "一"),
    ("two", "二"),
    ("three", "三"),
    ("school", "学校"),
    ("teacher", "老师"),
    ("friend", "朋友"),
    ("food", "食物"),
    ("bread", "面包"),
    ("fish", "鱼"),
    ("bird", "鸟"),
    ("answer", "答案"),
    ("question", "问题"),
    ("think", "想"),
)


def exchange(rng: Random, language: str) -> tuple[str, str]:
    """Draw a user message and a good reply."""
    kind = rng.random()
    if kind < 0.45:
        return rng.choice(FACTS[language])
    if kind < 0.6:
        return rng.choice(SMALL_TALK[language])
    if kind < 0.7:
        return rng.choice(SELF[language])
    if kind < 0.85:
        english, chinese = rng.choice(LEXICON)
        if language == "en":
            return f"How do you say {english} in Chinese?", chinese
        return f"{chinese}用英语怎么说？", english
    request = rng.choice(REQUESTS)
    if rng.random() < 0.5:
        return f"Say it politely: {request}", f"Could you please {request}?"
    return f"Write in capitals: {request}", request.upper()


def sentence(rng: Random, language: str) -> str:
    """Draw a statement, for text outside questions and answers."""
    return rng.choice(FACTS[language] + SELF[language])[1]
