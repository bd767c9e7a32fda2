// Texts to try, written for this page. The embedded translator to Portuguese translates each of them well.

export const SAMPLES = {
  translation: [
    {
      label: "Late train",
      text: "The train is late. We are waiting at the station and drinking a cup of coffee.",
    },
    { label: "Garden", text: "The children are playing in the garden." },
    { label: "Beach", text: "A woman in a red dress is standing on the beach and looking at the sea." },
    { label: "Balcony", text: "Could you water the plants on the balcony while we are away?" },
    { label: "No rain", text: "If it does not rain tomorrow, we will go to the beach with the children." },
    { label: "Meeting", text: "The meeting was moved to Thursday because the manager is ill." },
    { label: "Doctor", text: "The doctor says that I should drink more water and sleep at least eight hours." },
    { label: "Market", text: "She bought two kilos of apples and a loaf of bread at the market." },
    { label: "Soup", text: "My grandmother taught me how to make this soup." },
    {
      label: "Letter",
      text: "Thank you for your help.\nI am very happy about the book.\nWe will see each other on Sunday.",
    },
    {
      label: "Prices",
      text: "The new phone costs $1,299.99. The shop opens on 14 March 2026 at 3:30 p.m.",
    },
    {
      label: "Web page",
      format: "html",
      text: '<h2>The old house</h2>\n<p>The <b>red house</b> in <a href="https://example.com/berlin">Berlin</a> is very old. The children are playing in the <em>garden</em>.</p>\n<ul>\n  <li>Please wear a warm jacket.</li>\n  <li>The train leaves at 3:30 p.m.</li>\n</ul>',
    },
    {
      label: "Manual",
      format: "markdown",
      text: "## The first day\n\nRead the [book](https://example.com/book) **carefully**. The code is `print(42)`.\n\n- The train leaves at 3:30 p.m.\n- The new phone costs $1,299.99.\n\n1. Close all windows.\n2. Open the door.\n3. Wait ten minutes.",
    },
  ],
  summarization: [
    {
      label: "Footbridge",
      text: "The footbridge over the river at Aldermouth will stay closed until the end of March, the district said on Tuesday. Engineers found cracks in two of the steel cables during a routine inspection in October and asked for the bridge to be shut at once. About 900 people used it every day to walk to the hospital and the railway station. A free bus now crosses the river every ten minutes, but passengers say that it is often full in the morning. The repair is expected to cost 640,000 pounds. The district had hoped to reopen the bridge before Christmas, but the new cables have to be made to order by a company in Norway.",
    },
    {
      label: "School kitchen",
      text: "A primary school in the hills above Penrose has won a national prize for its kitchen, which cooks with vegetables that its pupils grow themselves. The school started the garden six years ago with four raised beds and a grant of 300 pounds. Today every class looks after a part of it for one hour a week. Head teacher Marta Illing said that the children eat more vegetables now and throw away less. The kitchen has cut its food waste by almost half, according to the jury. The prize money of 5,000 pounds will pay for a greenhouse, so that tomatoes and peppers can be grown from early spring.",
    },
    {
      label: "Night ferry",
      text: "More than two hundred passengers spent the night on a ferry off the coast of Carrow after its engine failed in heavy weather on Saturday evening. Nobody was hurt. The ship was on its way to the islands when smoke was seen in the engine room shortly after nine o'clock. The crew put out a small fire and dropped anchor about three miles from the harbour. Waves of four metres made it impossible to bring the passengers ashore in the dark, the coastguard said. Two tugs pulled the ferry into the harbour at seven on Sunday morning. The company has cancelled all sailings until Wednesday and offered the passengers their money back.",
    },
  ],
};
