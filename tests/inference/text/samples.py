"""Paragraphs in several languages, written for these tests."""

# ruff: noqa: RUF001

ENGLISH = (
    "The bakery on the corner opens at six, long before most people in our street are awake. On cold mornings the "
    "window is white with steam, and the first customers wait inside while the bread cools.",
    "Before you install the program, make sure that there is enough free space on the disk. If the installation stops "
    "with an error, read the log file and send us its last twenty lines.",
    "Nobody remembers who planted the old pear tree behind the school. It has not carried fruit for years, but every "
    "spring it blossoms, and the children still climb its lowest branches.",
)
FOREIGN = {
    "de": (
        "Die Bäckerei an der Ecke öffnet um sechs, lange bevor die meisten Leute in unserer Straße wach sind. An "
        "kalten Tagen ist das Fenster weiß vom Dampf, und die ersten Kunden warten drinnen, während das Brot abkühlt.",
        "Bevor Sie das Programm installieren, vergewissern Sie sich, dass auf der Festplatte genug Platz frei ist. "
        "Wenn die Installation mit einem Fehler abbricht, lesen Sie bitte die Protokolldatei.",
    ),
    "fr": (
        "La boulangerie du coin ouvre à six heures, bien avant que la plupart des gens de notre rue soient réveillés. "
        "Les matins froids, la vitrine est blanche de vapeur et les premiers clients attendent à l'intérieur.",
        "Avant d'installer le programme, vérifiez qu'il reste assez de place sur le disque. Si l'installation s'arrête "
        "avec une erreur, lisez le journal et envoyez-nous les vingt dernières lignes.",
    ),
    "es": (
        "La panadería de la esquina abre a las seis, mucho antes de que se despierte la mayoría de la gente de nuestra "
        "calle. En las mañanas frías el escaparate está blanco de vapor y los primeros clientes esperan dentro.",
        "Antes de instalar el programa, compruebe que queda bastante espacio libre en el disco. Si la instalación se "
        "detiene con un error, lea el registro y envíenos las últimas veinte líneas.",
    ),
    "zh": (
        "街角的面包店六点开门，那时我们街上的大多数人还没有醒来。寒冷的早晨，窗户上满是白色的水汽，最早的客人在里面等面包凉下来。",
        "安装程序之前，请确认磁盘上有足够的空间。如果安装因错误而停止，请阅读日志文件。",
    ),
    "ja": (
        "角のパン屋は六時に開きます。そのころ、この通りの人たちはまだ眠っています。寒い朝には窓が湯気で白くなり、最初の客は中でパンが冷めるのを待ちます。",
        "プログラムをインストールする前に、ディスクに十分な空きがあることを確認してください。",
    ),
    "ar": (
        "يفتح المخبز الواقع عند الزاوية في الساعة السادسة، قبل أن يستيقظ معظم الناس في شارعنا بوقت طويل. وفي الصباحات "
        "الباردة ينتظر أول الزبائن في الداخل حتى يبرد الخبز.",
        "قبل تثبيت البرنامج، تأكد من وجود مساحة كافية على القرص. إذا توقف التثبيت بسبب خطأ فاقرأ ملف السجل.",
    ),
}
