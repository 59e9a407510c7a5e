-- An index of words: tables, strings that are joined, a sort.
local state = 1

local function random(n)
  state = (state * 1103515245 + 12345) % 2147483648
  return (state // 65536) % n
end

for _ = 1, 2 do
  local index, words = {}, {}
  for i = 1, 150000 do
    local word = "w" .. random(30000) .. string.rep("x", random(60))
    local entry = index[word]
    if entry then
      entry[#entry + 1] = i
    else
      index[word] = { i }
      words[#words + 1] = word
    end
  end
  table.sort(words)
  print(#words, #table.concat(words), #index[words[1]])
end
