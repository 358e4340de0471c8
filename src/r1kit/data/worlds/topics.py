"""Everyday topics, each with words that a text about it uses. A text that fits any topic uses few of them."""

from __future__ import annotations

# Topic -> related words. Words of four or more letters match all words that begin with them.
# No word stands with more than six topics, so no fixed text is about many of them (tests/unit/data).
TOPICS: dict[str, tuple[str, ...]] = {
    topic: tuple(words.split())
    for topic, words in {
        "bees": "honey hive flower pollen pollin nectar queen insect buzz sting wax colony swarm "
        "agricultur bumble worker nest",
        "dogs": "pet bark tail loyal puppy puppies breed leash companion fur owner paw walk canine bone "
        "adorable friend",
        "cats": "pet purr kitten whisker meow claw mouse mice fur paw feline independent play curious "
        "litter nap hunt stealth",
        "horses": "ride riding gallop saddle mane hoof hooves stable race pony farm grass equine stallion "
        "roam strength",
        "birds": "wing feather fly flight flies nest egg sing song beak sky migrat chirp plumage avian perch tree",
        "fish": "swim water fin gill scale ocean river aquatic catch bait tank sea predator marine coral school dive",
        "elephants": "trunk tusk ivory herd large huge mammal africa ear memory matriarch savanna asia giant "
        "enormous land intelligent zoo",
        "butterflies": "wing caterpillar flower cocoon insect color colour pattern nectar flutter delicate "
        "iridescent monarch wild garden",
        "spiders": "web silk leg eight venom prey arachnid spin insect bite trap fly nocturnal predator crawl "
        "tarantula weav",
        "whales": "ocean sea mammal blubber breach largest dive pod swim marine song blowhole underwater "
        "humpback giant calf migrat",
        "trees": "leaf leaves branch root trunk oxygen forest shade wood bark fruit tall carbon plant tower "
        "canopy wildlife",
        "roses": "flower petal thorn bloom garden love red fragran bush romantic scent bouquet pink perfum "
        "valentine white",
        "forests": "tree wildlife animal leaf leaves wood canopy oxygen habitat green biodivers path carbon "
        "pine ecosystem deer",
        "gardens": "plant flower soil grow seed vegetable bloom weed green herb lawn outdoor backyard blossom "
        "urban tranquil",
        "mountains": "peak high climb snow rock summit hik valley tall slope elevation range everest himalaya "
        "rugged landscape breathtaking",
        "rivers": "flow stream bank water fish boat current valley bridge lake sea freshwater lifeblood "
        "aquatic drink wildlife ocean",
        "deserts": "sand dry hot arid cactus cacti dune rain heat camel oasis harsh sahara landscape "
        "unforgiving scorch vast",
        "islands": "sea ocean beach surround sand coast tropical palm shore boat isolated maldives reef "
        "paradise archipelago landscape",
        "volcanoes": "lava erupt ash magma mountain crater molten rock hot smoke crust explo mantle vent pumice "
        "surface eject",
        "the moon": "night earth orbit crater lunar tide phase sky gravity satellite bright astronaut "
        "celestial solar planet cycle moonlight",
        "the sun": "star light heat warm solar energy earth shine bright ray sunrise sunset celestial planet "
        "ball hydrogen daylight",
        "stars": "night sky shine twinkl galax light constellation hydrogen bright astronom distant gas "
        "celestial universe cosmos glow",
        "rain": "water cloud drop wet umbrella fall storm puddle crop weather moisture shower atmosphere cycle refresh",
        "snow": "cold white winter flake ice freez melt ski blanket frost fall crystal arctic landscape "
        "blizzard sled weather",
        "storms": "wind thunder lightning rain cloud damage flood weather hurricane tornado powerful fury "
        "typhoon atmosphere rage gale",
        "clouds": "sky vapor rain white fluff droplet weather float shape grey gray atmosphere shadow "
        "cumulus suspend drift",
        "winter": "cold snow ice coat season frost chill holiday freez fireplace december dark bleak",
        "summer": "hot sun warm beach season vacation heat swim holiday ice july sunshine breeze picnic "
        "afternoon outdoor barbecue",
        "autumn": "leaf leaves fall season harvest orange crisp cool pumpkin color colour october scent "
        "foliage summer wind",
        "spring": "flower bloom season blossom warm green grow fresh new april bud rebirth renewal nature rain garden",
        "bread": "flour bake baking dough yeast loaf oven toast butter wheat sandwich slice staple grain savory crust",
        "cheese": "milk cow dairy cheddar melt pizza cream mozzarella flavor flavour slice goat aged dessert "
        "texture italian dish",
        "soup": "hot bowl broth vegetable spoon warm cook ingredient chicken comfort tomato stew dish "
        "hearty nourish meal flavor",
        "rice": "grain cook asia white staple brown paddy dish bowl boil crop cuisine recipe harvest meal noodle",
        "apples": "fruit red green sweet tree pie juice crisp eat core orchard fiber fibre delicious snack "
        "tasty crunchy vitamin",
        "potatoes": "fries fry vegetable mash boil root peel starch bake chip dish soil staple carbohydrate "
        "crop side meal",
        "chocolate": "cocoa cacao sweet dark milk dessert candy bar sugar bitter treat cake indulgen cookie "
        "delicious decadent taste",
        "coffee": "bean cup caffeine morning drink brew roast energy milk espresso beverage aroma taste cafe sip wake",
        "tea": "cup leaf leaves drink hot brew green black herbal kettle beverage sip camellia aroma taste chinese",
        "cake": "sweet bake baking birthday sugar flour frosting icing dessert layer party egg oven "
        "celebrat delicious chocolate cream slice",
        "trains": "rail track station passenger travel locomotive engine transport speed journey freight "
        "steam commut distance city",
        "bicycles": "wheel ride riding pedal bike exercise chain helmet cycl road transport two vehicle "
        "outdoor environment handlebar",
        "boats": "water sail sea river row oar float ship fish captain lake engine vessel ocean yacht harbor",
        "airplanes": "fly flight flies wing pilot sky passenger airport travel engine jet land aircraft soar "
        "skies plane aviation",
        "cars": "drive driving road engine wheel vehicle fuel transport speed traffic park automobile "
        "electric gear motor",
        "bridges": "river cross span connect road structure steel engineer arch suspension travel "
        "infrastructure transportation distance traffic build",
        "castles": "stone king queen tower wall medieval knight moat fortress royal defen history architectur "
        "structure grand prince building",
        "lighthouses": "ship light coast sea sailor beacon tower rock guide shore navigat harbor maritime safety "
        "landmark ocean vessel",
        "schools": "student teacher learn class educat book knowledge lesson child pupil study institution "
        "academic taught exam grow",
        "libraries": "book read shelf shelves borrow librarian quiet knowledge study information learn story "
        "resource collection digital literature access",
        "museums": "art histor exhibit artifact visitor collection paint cultur display gallery ancient "
        "sculpture past civilization preserve heritage",
        "hospitals": "doctor nurse patient sick care medical treat surgery emergency heal ill professional "
        "facility clinic injur",
        "farms": "crop animal farmer cow field harvest grow food tractor barn vegetable land agricultur "
        "livestock produce rural sheep",
        "markets": "buy sell fresh fruit vegetable vendor goods stall shop price trade local marketplace "
        "customer economy merchant commerce",
        "books": "read page story stories author write knowledge librar chapter novel learn imagin "
        "literature tale fiction text",
        "music": "song sound melod rhythm instrument listen sing dance emotion play note piano jazz "
        "classical guitar harmony concert",
        "guitars": "string music play chord instrument strum sound song wood neck acoustic pick artist tune rock",
        "football": "ball team player goal game sport field kick stadium score match win soccer athlete "
        "championship league fan",
        "swimming": "water pool swimmer stroke exercise sport lake arm float lap dive muscle cardio fitness "
        "breath olympic",
        "chess": "board piece king queen move game player strateg pawn knight opponent checkmate skill "
        "victory tactic mental rook",
        "painting": "brush color colour canvas art artist paint picture draw gallery creat express artwork "
        "emotion portrait landscape",
        "dancing": "music rhythm move body step dance floor partner ballet express perform choreograph "
        "energetic celebrat culture",
        "clocks": "time hour minute hand tick second alarm watch wall number day wrist device mechanical "
        "pendulum tower",
        "computers": "screen keyboard program data software internet information process machine digital code "
        "hardware device electronic calculat task",
        "telephones": "call voice talk speak communicat ring number device mobile line message conversation "
        "phone network dial wire",
        "shoes": "foot feet wear walk leather sole lace comfort run style pair sneaker fashion cloth boot accessory",
        "umbrellas": "rain wet dry protect handle fold shade sun carry weather cover storm accessory canopy "
        "shelter sunlight fashion",
        "candles": "light wax flame burn wick dark scent glow melt warm fire romantic illuminat elegant lamp "
        "atmosphere fragran",
        "mirrors": "reflect glass image face look light wall surface see yourself silver vanity perception "
        "polish frame appearance",
        "sleep": "night rest bed dream tired body health pillow brain hour wake mind mental physical "
        "circadian energy bedroom",
        "teeth": "brush mouth clean dentist chew bite smile white gum eat cavit tooth dental digest food oral",
        "dreams": "sleep night mind imagin wake brain vivid subconscious bed emotion rest desire fear realm "
        "thought memor",
    }.items()
}
HELD_OUT = frozenset(list(TOPICS)[3::4])
