// SPDX-License-Identifier: Apache-2.0
package v5;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.broker.filter.MessageEvaluationContext;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.filter.FilterFactory;
import org.apache.rocketmq.filter.expression.Expression;
import shared.Output;

/** What Apache's own filter says of each expression and each message in two lists that lie beside the answers. */
public final class Sql {
    private Sql() {}

    /** Lines of a list; \n, \t, \r, \f and \\ are written so. */
    private static List<String> lines(Path file) throws Exception {
        List<String> lines = new ArrayList<>();
        for (String line : Files.readAllLines(file, StandardCharsets.UTF_8)) {
            StringBuilder text = new StringBuilder();
            for (int i = 0; i < line.length(); i++) {
                char c = line.charAt(i);
                if (c == '\\') {
                    c = line.charAt(++i);
                    text.append(c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'f' ? '\f' : c);
                } else {
                    text.append(c);
                }
            }
            lines.add(text.toString());
        }
        return lines;
    }

    public static void verdicts(Output out, Path folder) throws Exception {
        List<Map<String, String>> messages = new ArrayList<>();
        for (String line : lines(folder.resolve("sql-messages.txt"))) {
            messages.add(MessageDecoder.string2messageProperties(line.replace('|', '\u0002').replace('=', '\u0001')));
        }
        StringBuilder verdicts = new StringBuilder();
        for (String text : lines(folder.resolve("sql-expressions.txt"))) {
            verdicts.append(of(text, messages)).append('\n');
        }
        out.write("sql-verdicts.txt", verdicts.toString().getBytes(StandardCharsets.UTF_8));
    }

    /** A letter a message: True, False, Unknown, X for an exception; or a word if the expression is refused. */
    private static String of(String text, List<Map<String, String>> messages) {
        Expression expression;
        try {
            expression = FilterFactory.INSTANCE.get("SQL92").compile(text);
        } catch (Throwable e) {
            return "refused";
        }
        StringBuilder verdicts = new StringBuilder();
        for (Map<String, String> message : messages) {
            char verdict;
            try {
                Object value = expression.evaluate(new MessageEvaluationContext(message));
                verdict = value == null ? 'U' : (Boolean) value ? 'T' : 'F';
            } catch (Throwable e) {
                verdict = 'X';
            }
            verdicts.append(verdict);
        }
        return verdicts.toString();
    }
}
