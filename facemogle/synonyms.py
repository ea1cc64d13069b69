"""What people say, and the words of faces that a small vocabulary may have for it.

A meaning stands before its sources: regular expressions in lower case, apart by commas, of whole words in the singular,
with blanks for hyphens. Of several meanings of a source, the first counts of which every word is known.
"""

_HAIR = r"(?= (?:hair|haired|afro|bob|ponytail|bun|braids|curls|beard)\b)"


def _hair(*words: str) -> str:
    return ", ".join(f"{word}{_HAIR}" for word in words)


_PEOPLE = r"(?= (?:woman|man|person|girl|boy|lady|guy|child|teenager)\b)"

# Read as the meaning, where a word of the source is unknown.
MEANINGS: tuple[tuple[str, str], ...] = (
    # people
    ("young man", "boy, lad, young guy"),
    ("young woman", "girl, lass, young lady"),
    ("child", "kid, toddler, baby, infant"),
    ("teenager", "teen, adolescent"),
    ("young person", "child, kid, toddler, baby, infant, teenager, teen, adolescent, youngster"),
    ("young", "teenage, youthful, younger"),
    ("", "little(?= young)"),
    ("woman", "lady, female, women, girlfriend, wife, mother, she"),
    ("man", "guy, dude, gentleman, male, men, fellow, husband, father, he"),
    ("person", "people, human, someone, somebody, model"),
    ("elderly woman", "grandmother, grandma, granny"),
    ("elderly man", "grandfather, grandpa, grandad"),
    ("elderly person", "pensioner, seniors"),
    ("adult", "middle aged, mature, grown up"),
    ("elderly", "senior, aged, older"),
    # hair
    ("blonde", "blond, platinum blond, strawberry blond, dirty blond, ash blond"),
    ("blonde", "platinum blonde, strawberry blonde, dirty blonde, ash blonde"),
    ("blonde", _hair("golden", "flaxen", "platinum", "strawberry")),
    ("blonde", "fair(?! (?:skin|skinned|complexion))"),
    ("light", "fair"),
    ("red", _hair("ginger", "auburn", "copper")),
    ("brown", _hair("brunette", "brunet", "chestnut")),
    ("black", _hair("raven", "jet black", "ebony")),
    ("brown", "hazel"),
    ("red hair", f"redhead{_PEOPLE}, redheaded{_PEOPLE}, ginger{_PEOPLE}"),
    ("person with red hair", "redhead"),
    ("red hair", "ginger, redheaded"),
    ("brown hair", "brunette, brunet"),
    ("curly hair", "curls, ringlets, curly locks"),
    ("curly", "frizzy, kinky"),
    ("wavy hair", "waves"),
    ("hair", "haired, locks"),
    ("ponytail", "pony tail"),
    ("braids", "braid, braided, plaits, plait, pigtails, cornrows"),
    ("bun", "topknot, top knot, chignon"),
    ("short hair", "buzz cut, crew cut, pixie cut, pixie, cropped hair, close cropped hair"),
    ("bald head", "shaved head, shaven head, bald headed, hairless, balding"),
    ("grey", "gray, greying, graying"),
    # face
    ("eyes", "eyed"),
    ("skin", "skinned, complexion"),
    ("dark", "deep(?= skin)"),
    ("tan", "tanned"),
    ("beard", "facial hair, bearded, whiskers"),
    ("moustache", "mustache, mustached, moustached"),
    ("stubble", "stubbly, unshaven"),
    ("makeup", "make up, cosmetics"),
    ("lipstick", "makeup, make up, cosmetics"),
    ("lips", "lip"),
    ("bangs", "bang"),
    ("smile", "grin, smirk"),
    ("smiling", "grinning, beaming, smirking, smiley"),
    ("laughing", "laugh, laughs, laughter"),
    ("happy", "cheerful, joyful, joyous, glad, merry"),
    ("serious", "stern, solemn, unsmiling, (?:not|without|no) (?:a )?(?:smiling|smile)"),
    ("calm", "relaxed, peaceful, expressionless"),
    ("surprised", "astonished, amazed, shocked, startled, astonishment"),
    ("wink", "winking, winks"),
    ("closed eyes", "asleep, sleeping, shut eyes, eyes shut"),
    ("open mouth", "open mouthed, mouth opened"),
    # what is worn
    ("glasses", "spectacles, specs, eyeglasses, eye glasses, eyewear, bespectacled, reading glasses"),
    ("sunglasses", "shades, sun glasses, aviators"),
    ("beanie", "knit cap, knit hat, knitted (?:cap|hat), wool(?:len|en|ly)? (?:cap|hat), bobble hat, toque, tuque"),
    ("cap", "baseball cap, trucker cap, peaked cap, snapback"),
    ("wide hat", "(?:straw|sun|cowboy|floppy) hat, (?:(?:wide|broad) )?brimmed hat, sunhat, fedora, sombrero"),
    ("hat", "headwear, headgear"),
    ("earrings", "earring, jewelry, jewellery"),
    ("small earrings", "studs, stud earrings"),
    ("necklace", "chain, pendant, choker"),
    ("shirt", "t shirt, tshirt, tee, blouse"),
    ("sweater", "jumper, pullover, sweatshirt, hoodie, cardigan"),
    ("jacket", "coat, blazer, suit"),
    ("turtleneck", "turtle neck, roll neck, polo neck"),
    ("clothes", "clothing, dress, outfit"),
    # colours and surroundings
    ("purple", "violet, lilac, lavender"),
    ("teal", "turquoise, cyan"),
    ("blue", "navy, navy blue, azure"),
    ("red", "scarlet, crimson"),
    ("pink", "magenta"),
    ("gold", "golden"),
    ("background", "backdrop"),
    ("light", "lighting"),
    ("portrait", "photo, photograph, picture, image, headshot, selfie"),
    # words between
    ("with", "(?:who|that) has, has, having, featuring"),
    ("wearing", "(?:who|that) wear, who is wearing, wear, dressed in"),
    ("", "very, really, his, her, their, its, some, who is, is, who"),
)

# How captions put it, for words that are known one by one: always read so.
TURNS: tuple[tuple[str, str], ...] = (
    ("young", r"(?:1[0-9]|[23][0-9]) years? old"),
    ("adult", r"[45][0-9] years? old"),
    ("elderly", r"(?:[6-9][0-9]|1[0-9]{2}) years? old"),
    ("young", r"[0-9] years? old"),
    ("closed eyes", "eyes closed, closed eyed"),
    ("open mouth", "mouth open"),
    ("hoop earrings", "hoop(?! earrings)"),
    ("bald head", "(?:no|without|without any) hair"),
    ("grey", f"silver{_HAIR}"),
    ("brown", f"(?:light|dark) brown{_HAIR}"),
    ("blonde", f"(?:light|dark) blonde{_HAIR}"),
    ("black", f"dark{_HAIR}"),
    ("red", "dark red, light red"),
    ("blue", "(?:light|dark) blue"),
    ("green", "(?:light|dark) green"),
    ("grey", "(?:light|dark) grey"),
)

# Not the same, only near: offered in place of an unknown word, never read as it.
RELATED: tuple[tuple[str, str], ...] = (
    ("braids", "dreadlocks, dreads"),
    ("ponytail", "braids, braid, braided, plaits, pigtails, cornrows, dreadlocks, dreads"),
    ("serious", "sad, unhappy, angry, grumpy, frowning, crying, worried, scared, afraid"),
    ("headscarf", "hijab, turban, bandana, shawl"),
    ("hat", "hood, helmet, headscarf, hijab, turban, bandana, veil, crown, headband, scarf"),
    ("beanie", "beret"),
    ("cap", "visor"),
    ("glasses", "goggles, monocle"),
    ("makeup", "mascara, eyeliner, eyeshadow, blush, rouge"),
    ("lipstick", "mascara, eyeliner, eyeshadow, blush, rouge"),
    ("bob", "medium, shoulder"),
    ("white", "beige, cream, ivory"),
    ("brown", "hazel, amber, bronze"),
    ("pink", "rose, salmon, peach"),
    ("orange", "rust, copper"),
    ("moustache", "sideburns"),
    ("shirt", "tie, vest, uniform"),
    ("turned", "profile, sideways"),
)

# What a prompt may say is not there. It is then left unsaid, since a model that knows no "no" would draw it.
THINGS = (
    "hat|cap|beanie|hood|helmet|headscarf|scarf|veil|glasses|sunglasses|beard|moustache|goatee|stubble|earrings|"
    "necklace|lipstick|makeup|fringe|bangs|parting|braids|ponytail|bun|curls|afro|bob|hair|eyes|skin|smile|wink|shirt|"
    "sweater|turtleneck|jacket|collar|clothes|background|wrinkles|freckles"
)
ABSENT = "clean shaven|cleanshaven|beardless|hatless|bareheaded|bare headed"
