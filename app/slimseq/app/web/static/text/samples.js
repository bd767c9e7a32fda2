// Texts to try, written for this page.

export const SAMPLES = {
  translation: [
    {
      label: "Vote",
      text: "The parliament will vote on the new law on Thursday. The government has promised to listen to the critics.",
    },
    { label: "Garden", text: "The children are playing in the garden." },
    {
      label: "Late train",
      text: "The train was late again. We waited at the station and drank a cup of coffee while it rained.",
    },
    {
      label: "Climber",
      text: "A man in a red jacket is climbing a steep rock while two women are watching him from below.",
    },
    {
      label: "Letter",
      text: "Thank you for your letter.\nI am sorry that I could not answer earlier.\nWe would like to visit you in the summer.",
    },
    {
      label: "Invoice",
      text: "The bill of $1,299.99 must be paid by 14 March 2026. If you have questions, please write to billing@example.com before 3:30 p.m.",
    },
    {
      label: "Web page",
      format: "html",
      text: '<h2>The museum</h2>\n<p>The museum is <b>closed</b> on Monday. The tickets cost <em>12.50 euros</em>. You can buy them <a href="https://example.com/tickets">on our website</a>.</p>\n<ul>\n  <li>Please wear a warm jacket.</li>\n  <li>Dogs are not allowed in the house.</li>\n</ul>',
    },
    {
      label: "Manual",
      format: "markdown",
      text: "## Before you begin\n\nRead the [manual](https://example.com/manual) **carefully**. The command `make install` starts the installation.\n\n1. Close all windows.\n2. Wait for ten minutes.\n\n| Time | What happens |\n| --- | --- |\n| 10 minutes | The files are copied. |\n| 5 minutes | The computer starts again. |",
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
